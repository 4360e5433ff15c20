"""Sample data that ships with the package: three machines of the Server Machine Dataset (see NOTICE.md)."""

from pathlib import Path

__all__ = ["sample_path", "sample_root_causes_path"]

_FOLDER = Path(__file__).parent


def sample_path() -> Path:
    """Parquet file: 142,139 rows of 3 machines with 38 metrics, one a minute, train and test, test labelled."""
    return _FOLDER / "smd_sample.parquet"


def sample_root_causes_path() -> Path:
    """CSV file: for each labelled event of the sample the metrics that experts marked; seq_end is exclusive."""
    return _FOLDER / "smd_sample_root_causes.csv"
