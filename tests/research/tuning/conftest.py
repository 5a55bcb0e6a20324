"""The untrained model and readers of the study's tests."""

from tests.research.study.conftest import judge_folder, model_folder

__all__ = ["judge_folder", "model_folder"]
