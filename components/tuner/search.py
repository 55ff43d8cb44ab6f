"""The search for hyperparameters: its space, its trials and its limits."""

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
from keras_tuner.engine.trial import Trial, TrialStatus
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components import examples, features, image_schema
from components.failures import ConfigurationFailure
from components.trainer import batches, class_weights, training, whitening
from components.trainer.callbacks import DivergenceWatch, averaging
from components.trainer.resumption import EpochSeeds
from components.trainer.schedule import WarmUpAndDecay
from components.trainer.settings import Settings, with_hyperparameters

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Range:
    """The range of a hyperparameter.

    Attributes:
      name: Name of a setting of Trainer, as in `settings.with_hyperparameters`.
      lowest: Lower bound, inclusive.
      highest: Upper bound, inclusive.
      logarithmic: Whether to sample on a logarithmic scale.
    """

    name: str
    lowest: float
    highest: float
    logarithmic: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value is in the range."""
        return self.lowest <= value <= self.highest


# The search space. Label smoothing changes the loss, also on `val`, so the losses of two trials are
# not comparable. The search therefore maximizes the accuracy, weighted as the loss is.
SPACE = (
    Range("learning_rate", 1e-3, 3e-2, logarithmic=True),
    Range("weight_decay", 1e-2, 1.0, logarithmic=True),
    Range("dropout", 0.0, 0.5),
    Range("label_smoothing", 0.0, 0.2),
    Range("augmentation.erasing", 0.0, 0.6),
    Range("augmentation.shift", 0.0, 0.15),
)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The limits of a search.

    Attributes:
      trials: Maximum number of trials.
      minutes: Time limit. After it, no trial begins, and a running trial ends with its epoch.
      max_parameters: Maximum number of trainable parameters of a network.
    """

    trials: int
    minutes: float
    max_parameters: int


class SearchFailed(ConfigurationFailure):
    """No trial succeeded."""

    def __init__(self, message: str, trials: int):
        """Creates the error from its message and the number of trials that began.

        If none began, the same search may have more time on the next run: no change is needed.
        """
        super().__init__(message, ["tuner.enabled=false"] if trials else [])


class Deadline:
    """The end of the time for a search."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic):
        """Sets the end, from now on; the clock returns seconds."""
        self._clock = clock
        self._end = clock() + 60 * minutes

    def passed(self) -> bool:
        """Returns whether the time is up."""
        return self._clock() >= self._end


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Prepares the search on the splits `train` and `val`; TFX's Tuner calls this.

    Args:
      fn_args: Arguments from TFX. `custom_config` has the settings of a trial, the bounds of the
        search and, from `component.Executor`, the folder of the examples. `working_dir` is the
        folder for the files of the search.
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
    data = training.training_batches(settings, schema, train)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    sample = batches.prepared_sample(train, transform, whitening.images_needed(schema.shape))
    trials = Trials(settings, schema, data, sample, Deadline(bounds.minutes))
    fit_arguments = {
        "x": data.dataset(transform, 0, settings.epochs),
        "validation_data": training.validation_batches(settings, schema, validation, transform),
        "verbose": 0,
    }
    return TunerFnResult(Search(trials, bounds, fn_args.working_dir), fit_arguments)


class Trials(keras_tuner.HyperModel):
    """Builds and trains the network of a trial like Trainer, but for fewer epochs.

    Attributes:
      settings: Settings of all trials; each trial replaces those of the search space.
      deadline: End of the search; a running trial ends with its epoch.
    """

    def __init__(
        self,
        settings: Settings,
        schema: image_schema.ImageSchema,
        data: batches.TrainingBatches,
        sample: np.ndarray,
        deadline: Deadline,
    ):
        """Stores the values that all trials share.

        Args:
          settings: Settings of all trials; each trial replaces those of the search space.
          schema: Shape of the images and class names.
          data: Training data.
          sample: Preprocessed sample of the training images, for the whitening.
          deadline: End of the search; a running trial ends with its epoch.
        """
        super().__init__()
        self.settings = settings
        self.deadline = deadline
        self._schema = schema
        self._data = data
        self._sample = sample

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled network of a trial; every trial starts with the same weights."""
        keras.utils.set_random_seed(self.settings.seed)
        settings = with_hyperparameters(self.settings, hp.values)
        at_once = self._data.steps_at_once(settings.epochs)
        batch_size = self._data.batch_size
        network = training.compiled_network(settings, self._schema, batch_size, at_once)
        if settings.whitening:
            whitening.begin(network, self._sample)
        return network

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, callbacks: list, **arguments: Any
    ) -> keras.callbacks.History:
        """Trains the network of a trial.

        Args:
          hp: Values of the trial.
          model: Network from `build`.
          callbacks: Callbacks of keras-tuner, ignored: they save weights, which nobody needs.
          **arguments: Further arguments of Keras's `fit`.

        Raises:
          FailedTrialError: If the loss is no longer a number.
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
    """keras-tuner's Bayesian search, with a time limit and one log line per trial.

    A trial fails if its loss is no longer a number or its network is too large, and the search
    continues. Any other error ends the search: keras-tuner would treat a bug in the code as a bad
    choice of values.
    """

    def __init__(
        self, trials: Trials, bounds: Bounds, directory: str, space: Sequence[Range] = SPACE
    ):
        """Prepares the search.

        Args:
          trials: Builds and trains the network of each trial.
          bounds: Limits of the search.
          directory: Local folder for the files of keras-tuner.
          space: Search space.
        """
        self._began = 0.0
        searched = hyperparameters(space, trials.settings)
        super().__init__(
            _Oracle(
                trials.deadline,
                objective=_objective(trials.settings),
                max_trials=bounds.trials,
                # Number of random trials before the Bayesian search: one per dimension. The default
                # of keras-tuner, three per dimension, exceeds our default number of trials.
                num_initial_points=len(searched.space),
                hyperparameters=searched,
                # keras-tuner treats 0 as no seed.
                seed=trials.settings.seed + 1,
                # Consecutive failed trials must not end the search.
                max_consecutive_failed_trials=bounds.trials + 1,
            ),
            trials,
            max_model_size=bounds.max_parameters,
            directory=directory,
            project_name="search",
            overwrite=True,
        )

    def on_trial_begin(self, trial: Trial) -> None:
        """Records the start time."""
        super().on_trial_begin(trial)
        self._began = time.monotonic()

    def run_trial(self, trial: Trial, *arguments: Any, **options: Any) -> Any:
        """Runs a trial.

        Raises:
          FailedTrialError: If the trial failed and others may succeed.
          FatalRuntimeError: If any other error occurred.
        """
        try:
            return super().run_trial(trial, *arguments, **options)
        except keras_tuner.errors.FailedTrialError:
            raise
        except Exception as error:
            raise keras_tuner.errors.FatalRuntimeError(
                f"trial {_number(trial)} failed: {error}"
            ) from error

    def on_trial_end(self, trial: Trial) -> None:
        """Logs the trial, with its number as attribute `trial` of the log record, for displays."""
        super().on_trial_end(trial)
        logger.info(
            "trial %d of %d: %s; %s, %.1f s; %s",
            _number(trial),
            self.oracle.max_trials,
            _values(trial),
            self._outcome(trial),
            time.monotonic() - self._began,
            self._best(),
            extra={"trial": _number(trial)},
        )

    def on_search_end(self) -> None:
        """Checks that a trial succeeded.

        Raises:
          SearchFailed: If no trial succeeded. TFX would use the values of a failed trial.
        """
        trials = list(self.oracle.trials.values())
        if any(trial.status == TrialStatus.COMPLETED for trial in trials):
            return
        last = f" Last trial: {self._outcome(trials[-1])}." if trials else ""
        raise SearchFailed(
            f"none of {len(trials)} trials succeeded; expected at least one.{last} Increase "
            "tuner.minutes or tuner.max_parameters, set tuner.enabled=false, or change the ranges "
            "in components/tuner/search.py.",
            len(trials),
        )

    def _outcome(self, trial: Trial) -> str:
        if trial.status == TrialStatus.COMPLETED:
            metric = self.oracle.objective.name.removeprefix("val_").replace("_", " ")
            return f"validation {metric} {trial.score:.4f}"
        # The message is a traceback; its last line is `error: what happened`.
        return f"failed: {trial.message.strip().splitlines()[-1].partition(': ')[2]}"

    def _best(self) -> str:
        best = self.oracle.get_best_trials()[0]
        if best.status != TrialStatus.COMPLETED:
            return "no success so far"
        return f"best so far {best.score:.4f} in trial {_number(best)}"


def hyperparameters(space: Sequence[Range], settings: Settings) -> keras_tuner.HyperParameters:
    """Returns the search space in the form of keras-tuner.

    Args:
      space: Search space. A setting outside its range is not searched: with another recipe, such as
        Adam without weight decay, the range says nothing about it.
      settings: Settings, which the first trial has.
    """
    result = keras_tuner.HyperParameters()
    for each in space:
        value = operator.attrgetter(each.name)(settings)
        if each.holds(value):
            sampling = "log" if each.logarithmic else "linear"
            result.Float(each.name, each.lowest, each.highest, sampling=sampling, default=value)
    return result


def _objective(settings: Settings) -> keras_tuner.Objective:
    weighted = settings.class_weights != class_weights.NONE
    metric = training.WEIGHTED_ACCURACY if weighted else "accuracy"
    return keras_tuner.Objective(f"val_{metric}", "max")


class _Oracle(keras_tuner.oracles.BayesianOptimizationOracle):
    """Tries the values of the settings first, so that the best trial is at least as good."""

    def __init__(self, deadline: Deadline, **options: Any):
        super().__init__(**options)
        self._deadline = deadline

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial, or a stop if the time is up."""
        if self._deadline.passed():
            logger.info("the time is up after %d trials", len(self.trials))
            return {"status": TrialStatus.STOPPED, "values": None}
        if not self.trials:
            return {"status": TrialStatus.RUNNING, "values": self.get_space().values}
        return super().populate_space(trial_id)


class _FailOnDivergence(DivergenceWatch):
    """Fails a trial as soon as the loss is no longer a number."""

    def diverged(self, finding: str, epoch: int) -> None:
        """Raises the error that marks a trial as failed."""
        raise keras_tuner.errors.FailedTrialError(finding)


class _EndInTime(keras.callbacks.Callback):
    """Ends a trial after the current epoch when the time of the search is up."""

    def __init__(self, deadline: Deadline):
        super().__init__()
        self._deadline = deadline

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._deadline.passed():
            self.model.stop_training = True


def _number(trial: Trial) -> int:
    """Returns the number of a trial, counted from 1; keras-tuner counts from 0."""
    return int(trial.trial_id) + 1


def _values(trial: Trial) -> str:
    values = trial.hyperparameters.values
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
