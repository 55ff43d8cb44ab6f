"""The nodes of the graph, in the order in which they run; Tuner is one on demand alone."""

DATA_GATE = "DataGate"
TUNER = "Tuner"
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


def expected_nodes(tuner: bool) -> tuple[str, ...]:
    """The nodes of a run.

    Args:
      tuner: whether hyperparameters are searched for.
    """
    place = NODES.index(TRAINER)
    return (*NODES[:place], TUNER, *NODES[place:]) if tuner else NODES
