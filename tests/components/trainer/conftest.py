"""What the tests of the trainer share: settings."""

import pytest

from components.trainer.settings import Augmentation, Settings


@pytest.fixture
def no_augmentation():
    return Augmentation(rotation=0.0, shift=0.0, shear=0.0, zoom=0.0, flip=False, erasing=0.0)


@pytest.fixture
def all_augmentation():
    return Augmentation(rotation=20.0, shift=0.2, shear=0.2, zoom=0.2, flip=True, erasing=1.0)


@pytest.fixture
def settings(no_augmentation):
    """Those of a small network."""
    return Settings(
        widths=(4, 6),
        dropout=0.2,
        l2=1e-4,
        epochs=2,
        batch_size=8,
        learning_rate=1e-3,
        label_smoothing=0.05,
        plateau_patience=2,
        plateau_factor=0.3,
        early_stopping_patience=5,
        seed=1,
        augmentation=no_augmentation,
        backup_name="backup",
    )
