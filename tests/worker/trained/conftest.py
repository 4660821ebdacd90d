from tests.worker.training_data import data_folder, subwords

__all__ = ["data_folder", "subwords"]
