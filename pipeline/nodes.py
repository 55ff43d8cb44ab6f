"""The names of the nodes, in the order in which they run."""

RESOLVER = "Resolver"
EXAMPLE_GEN = "ExampleGen"
DATA_GATE = "DataGate"
TUNER = "Tuner"
TRAINER = "Trainer"
EVALUATOR = "Evaluator"
PREDICTIONS = "Predictions"
CORRUPTION = "Corruption"
ROBUSTNESS_EVALUATOR = "RobustnessEvaluator"
BLESSING = "Blessing"
PUSHER = "Pusher"
# On a cluster alone: the final node, and the exit handler.
REVIEW = "Review"
NOTIFICATION = "Notification"

NODES = (
    "ImportSchemaGen",
    EXAMPLE_GEN,
    "StatisticsGen",
    "ExampleValidator",
    RESOLVER,
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
    """Returns the nodes of a run, in order.

    Args:
      tuner: Whether the run searches for hyperparameters.
      robustness: Whether the run also evaluates the model on corrupted images.
    """
    before = {
        "Transform": [CORRUPTION] if robustness else [],
        TRAINER: [TUNER] if tuner else [],
        BLESSING: [ROBUSTNESS_EVALUATOR] if robustness else [],
    }
    return tuple(name for node in NODES for name in (*before.get(node, []), node))
