"""The search for hyperparameters: what is tried, how, and within which bounds."""

from __future__ import annotations

import dataclasses
import logging
import operator
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from keras_tuner.engine.trial import TrialStatus
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components import examples, features, image_schema
from components.trainer import batches, training, whitening
from components.trainer.callbacks import DivergenceWatch, averaging
from components.trainer.resumption import EpochSeeds
from components.trainer.schedule import WarmUpAndDecay
from components.trainer.settings import Settings, with_hyperparameters

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that a hyperparameter may take.

    Attributes:
      name: of a setting of Trainer, as `settings.with_hyperparameters` reads it.
      lowest: bound, itself tried.
      highest: bound, itself tried.
      logarithmic: whether each order of magnitude is as likely as the next.
    """

    name: str
    lowest: float
    highest: float
    logarithmic: bool = False

    def nearest(self, value: float) -> float:
        """The value in the range that is nearest to `value`."""
        return min(max(value, self.lowest), self.highest)


# What is searched for. Label smoothing is part of the loss, also on `val`, so that the losses of
# two trials cannot be compared: trials are judged by their accuracy.
SPACE = (
    Range("learning_rate", 1e-3, 3e-2, logarithmic=True),
    Range("weight_decay", 1e-2, 1.0, logarithmic=True),
    Range("dropout", 0.0, 0.5),
    Range("label_smoothing", 0.0, 0.2),
    Range("augmentation.erasing", 0.0, 0.6),
    Range("augmentation.shift", 0.0, 0.15),
)
_OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a search may cost.

    Attributes:
      trials: sets of values that are tried, at most.
      minutes: after which no trial begins, and the one under way ends with its epoch.
      max_parameters: trainable parameters of a network; a larger one is not tried.
    """

    trials: int
    minutes: float
    max_parameters: int


class SearchFailed(RuntimeError):
    """No trial ended well, so there is nothing to choose from.

    Attributes:
      changes: of the configuration, `key=value` each, with which a run may end otherwise. None
        where no trial began: the same search may find more time.
    """

    def __init__(self, message: str, trials: int):
        """Takes what is told, and how many trials there were."""
        super().__init__(message)
        self.changes = ["tuner.enabled=false"] if trials else []


class Deadline:
    """The moment at which the time of a search is up."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic):
        """Counts from now on the clock, which tells seconds."""
        self._clock = clock
        self._end = clock() + 60 * minutes

    def passed(self) -> bool:
        """Whether the time is up."""
        return self._clock() >= self._end


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """What TFX's Tuner runs: prepares the search on the splits `train` and `val`.

    Args:
      fn_args: `custom_config` holds the settings of a trial, the bounds of the search and, from
        `component.Executor`, the folder of the examples; `working_dir` is for the search's files.
    """
    config = fn_args.custom_config
    settings = Settings.from_dict(config["settings"])
    bounds = Bounds(**config["bounds"])
    schema = image_schema.read_artifact(os.path.dirname(fn_args.schema_path))
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train, validation = (
        examples.read_split(config[features.EXAMPLES_FOLDER], name, settings.most_in_memory)
        for name in (features.TRAIN_SPLIT, features.VALIDATION_SPLIT)
    )
    classes = len(schema.class_names)
    data = batches.TrainingBatches(train, classes, settings.batch_size, settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    sample = batches.prepared_sample(train, transform, whitening.images_needed(schema.shape))
    trials = Trials(settings, schema, data, sample, Deadline(bounds.minutes))
    fit_arguments = {
        "x": data.dataset(transform, 0, settings.epochs),
        "validation_data": batches.labelled_batches(validation, transform, classes),
        "verbose": 0,
    }
    return TunerFnResult(Search(trials, bounds, fn_args.working_dir), fit_arguments)


class Trials(keras_tuner.HyperModel):
    """Builds and trains the network of a trial as Trainer would, in fewer epochs.

    Attributes:
      settings: of a trial, but for what is searched for.
      deadline: at which a trial ends with its epoch.
    """

    def __init__(
        self,
        settings: Settings,
        schema: image_schema.ImageSchema,
        data: batches.TrainingBatches,
        sample: np.ndarray,
        deadline: Deadline,
    ):
        """Takes what all trials have in common.

        Args:
          settings: of a trial, but for what is searched for.
          schema: the shape of the images and the class names.
          data: what they are trained on.
          sample: of it, prepared: for the first convolution to whiten.
          deadline: at which a trial ends with its epoch.
        """
        super().__init__()
        self.settings = settings
        self.deadline = deadline
        self._schema = schema
        self._data = data
        self._sample = sample

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The compiled network of a trial; every trial begins at the same weights."""
        keras.utils.set_random_seed(self.settings.seed)
        settings = with_hyperparameters(self.settings, hp.values)
        network = training.compiled_network(settings, self._schema, self._data.steps_at_once())
        if settings.whitening:
            whitening.begin(network, self._sample, settings.seed)
        return network

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, callbacks: list, **arguments: Any
    ) -> keras.callbacks.History:
        """Trains the network of a trial.

        Args:
          hp: the values of the trial.
          model: from `build`.
          callbacks: keras-tuner's own, left aside: they keep weights, and Trainer trains anew.
          **arguments: of Keras's `fit`.

        Raises:
          FailedTrialError: where the loss is no longer a number.
        """
        settings, steps = with_hyperparameters(self.settings, hp.values), self._data.steps
        own = [
            _FailOnDivergence(),
            EpochSeeds(settings.seed),
            WarmUpAndDecay(settings.learning_rate, settings.warm_up, steps, settings.epochs),
            *averaging(settings),
            _EndInTime(self.deadline),
        ]
        return model.fit(**arguments, epochs=settings.epochs, steps_per_epoch=steps, callbacks=own)


class Search(keras_tuner.Tuner):
    """keras-tuner's Bayesian search, which ends in time and logs each trial in a line.

    A trial whose loss is no longer a number, or whose network is too large, has failed, and the
    search goes on. Whatever else goes wrong in a trial ends the search: keras-tuner would take a
    fault in the code for a bad choice of values.
    """

    def __init__(
        self, trials: Trials, bounds: Bounds, directory: str, space: Sequence[Range] = SPACE
    ):
        """Prepares the search.

        Args:
          trials: what is done in a trial.
          bounds: what the search may cost.
          directory: local folder for keras-tuner's own files.
          space: what is searched for.
        """
        self._began = 0.0
        super().__init__(
            _Oracle(
                trials.deadline,
                objective=_OBJECTIVE,
                max_trials=bounds.trials,
                # Drawn, before the search follows what it saw: one for each dimension. keras-tuner
                # takes three, which is more than there are trials by default.
                num_initial_points=len(space),
                hyperparameters=hyperparameters(space, trials.settings),
                # keras-tuner takes 0 for no seed.
                seed=trials.settings.seed + 1,
                # Failed trials end no search, however many there are in a row.
                max_consecutive_failed_trials=bounds.trials + 1,
            ),
            trials,
            max_model_size=bounds.max_parameters,
            directory=directory,
            project_name="search",
            overwrite=True,
        )

    def on_trial_begin(self, trial: Any) -> None:
        """Looks at the clock."""
        super().on_trial_begin(trial)
        self._began = time.monotonic()

    def run_trial(self, trial: Any, *arguments: Any, **options: Any) -> Any:
        """Runs a trial.

        Raises:
          FailedTrialError: where it failed, and others may do better.
          FatalRuntimeError: on any other error.
        """
        try:
            return super().run_trial(trial, *arguments, **options)
        except keras_tuner.errors.FailedTrialError:
            raise
        except Exception as error:
            raise keras_tuner.errors.FatalRuntimeError(
                f"trial {_number(trial)} broke off: {error}"
            ) from error

    def on_trial_end(self, trial: Any) -> None:
        """Logs the trial, and attaches it to the record as `trial` for displays to show."""
        super().on_trial_end(trial)
        logger.info(
            "trial %d of %d: %s; %s, %.1f s; %s",
            _number(trial),
            self.oracle.max_trials,
            _values(trial),
            _outcome(trial),
            time.monotonic() - self._began,
            self._best(),
            extra={"trial": _number(trial)},
        )

    def on_search_end(self) -> None:
        """Checks that there is something to choose from.

        Raises:
          SearchFailed: where no trial ended well. TFX would take the values of one that failed.
        """
        trials = list(self.oracle.trials.values())
        if any(trial.status == TrialStatus.COMPLETED for trial in trials):
            return
        last = f" The last one: {_outcome(trials[-1])}." if trials else ""
        raise SearchFailed(
            f"none of {len(trials)} trials ended well; expected one at least.{last} Set "
            "tuner.minutes or tuner.max_parameters higher, train without tuner.enabled, or change "
            "the ranges in components/tuner/search.py.",
            len(trials),
        )

    def _best(self) -> str:
        best = self.oracle.get_best_trials()[0]
        if best.status != TrialStatus.COMPLETED:
            return "none ended well so far"
        return f"best so far {best.score:.4f} in trial {_number(best)}"


def hyperparameters(space: Sequence[Range], settings: Settings) -> keras_tuner.HyperParameters:
    """The search space as keras-tuner has it.

    Args:
      space: names and ranges.
      settings: its values, or those nearest to them in the ranges, become the defaults.
    """
    found = keras_tuner.HyperParameters()
    for each in space:
        found.Float(
            each.name,
            each.lowest,
            each.highest,
            sampling="log" if each.logarithmic else "linear",
            default=each.nearest(operator.attrgetter(each.name)(settings)),
        )
    return found


class _Oracle(keras_tuner.oracles.BayesianOptimizationOracle):
    """Begins with the values of the settings, so that a search finds nothing worse than them."""

    def __init__(self, deadline: Deadline, **options: Any):
        super().__init__(**options)
        self._deadline = deadline

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of the next trial; none where the time is up."""
        if self._deadline.passed():
            logger.info("the time is up, trials so far: %d", len(self.trials))
            return {"status": TrialStatus.STOPPED, "values": None}
        if not self.trials:
            return {"status": TrialStatus.RUNNING, "values": self.get_space().values}
        return super().populate_space(trial_id)


class _FailOnDivergence(DivergenceWatch):
    """Ends a trial as failed as soon as the loss is no longer a number."""

    def diverged(self, finding: str, epoch: int) -> None:
        """Raises what keras-tuner takes for a failed trial."""
        raise keras_tuner.errors.FailedTrialError(finding)


class _EndInTime(keras.callbacks.Callback):
    """Ends a trial at the end of the epoch in which the time of the search is up."""

    def __init__(self, deadline: Deadline):
        super().__init__()
        self._deadline = deadline

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._deadline.passed():
            self.model.stop_training = True


def _number(trial: Any) -> int:
    """Trials count from 1 for people; keras-tuner names them by numbers from 0."""
    return int(trial.trial_id) + 1


def _values(trial: Any) -> str:
    values = trial.hyperparameters.values
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _outcome(trial: Any) -> str:
    if trial.status == TrialStatus.COMPLETED:
        return f"validation accuracy {trial.score:.4f}"
    # The message is a traceback; its last line is `error: what happened`.
    return f"failed: {trial.message.strip().splitlines()[-1].partition(': ')[2]}"
