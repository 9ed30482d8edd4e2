"""A genotype as a picture or a graph, from wherever it is kept."""

import os
import pathlib

from racl_tf import file_names
from racl_tf.errors import UsageError, unknown
from racl_tf.files import write_text
from racl_tf.reporting import draw_genotype, to_dot
from racl_tf.space import GENOTYPES, Genotype, get_genotype

FORMATS = (".png", ".svg", ".dot")
_HOLDERS = (file_names.CHOOSE, file_names.SEARCH, file_names.TRAIN)  # steps that have one, the chosen one first


def run_drawing(name: str, out: str = "cell.png") -> pathlib.Path:
    """Draws a genotype's cells to a file, or writes them as a graph for Graphviz, and returns the file's path.

    Arguments:
        name: a published genotype, a genotype's JSON file, or the folder of a run or of one of its steps.
        out: the file to write; its suffix, .png, .svg or .dot, decides the format.

    Raises:
        UsageError: there is no such genotype, the suffix is another one, or the file cannot be written.
    """
    path = pathlib.Path(out).expanduser()
    if path.suffix.lower() not in FORMATS:
        raise unknown("suffix of a drawing's file", path.suffix, FORMATS)
    genotype = find_genotype(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".dot":
            write_text(path, to_dot(genotype))
        else:
            draw_genotype(genotype, path)
    except OSError as error:
        raise UsageError(f"The drawing cannot be written: {error}. Give another file: --out=cell.png.") from None
    return path


def find_genotype(name: str) -> Genotype:
    """Returns a published genotype by name, the one in a JSON file, or that of a run's folder.

    Of a run it is the chosen one, else the searched one, else the trained one.

    Raises:
        UsageError: there is none.
    """
    folder = pathlib.Path(name).expanduser()
    if not folder.is_dir():
        if name.lower().endswith(".json") or os.sep not in name:
            return get_genotype(name)
        raise UsageError(
            f"There is no genotype {name!r}. Give a genotype's .json file, the folder of a run, or one of: "
            f"{', '.join(GENOTYPES)}."
        )
    for place in (folder, *(folder / step for step in _HOLDERS)):
        if (place / file_names.GENOTYPE).is_file():
            return Genotype.load(place / file_names.GENOTYPE)
    raise UsageError(
        f"The folder {name!r} holds no genotype: there is no {file_names.GENOTYPE} in it or in "
        f"{', '.join(_HOLDERS)}. Give the folder of a finished search."
    )
