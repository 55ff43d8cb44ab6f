"""The nodes of the graph, in the order in which they run."""

DATA_GATE = "DataGate"
TRAINER = "Trainer"
EVALUATOR = "Evaluator"
PUSHER = "Pusher"

NODES = (
    "ImportSchemaGen",
    "ExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "Resolver",
    DATA_GATE,
    "Transform",
    TRAINER,
    "ServingCheck",
    EVALUATOR,
    PUSHER,
)
