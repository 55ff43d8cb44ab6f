"""The nodes of the graph, in the order in which they run, and those that run on demand alone."""

DATA_GATE = "DataGate"
TUNER = "Tuner"
TRAINER = "Trainer"
EVALUATOR = "Evaluator"
PREDICTIONS = "Predictions"
CORRUPTION = "Corruption"
ROBUSTNESS_EVALUATOR = "RobustnessEvaluator"
BLESSING = "Blessing"
PUSHER = "Pusher"
# The parameter of a node that stands for the code that it runs.
CODE_FINGERPRINT = "code_fingerprint"

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
    PREDICTIONS,
    EVALUATOR,
    BLESSING,
    PUSHER,
)


def expected_nodes(tuner: bool, robustness: bool) -> tuple[str, ...]:
    """The nodes of a run.

    Args:
      tuner: whether hyperparameters are searched for.
      robustness: whether the model is also evaluated on corrupted images.
    """
    before = {
        "Transform": [CORRUPTION] if robustness else [],
        TRAINER: [TUNER] if tuner else [],
        BLESSING: [ROBUSTNESS_EVALUATOR] if robustness else [],
    }
    return tuple(name for node in NODES for name in (*before.get(node, []), node))
