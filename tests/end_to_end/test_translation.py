"""What translation alone has: hypotheses piece for piece, and BLEU's signature in the log."""

import numpy as np
import pytest

from common import check_log
from common.command import FRAMEWORKS
from tests.cells import CELLS


@pytest.mark.parametrize("application", ["translation"])
def test_the_same_parameters_give_the_same_hypotheses(application, ran, command, tmp_path):
    """All test sentences, piece for piece.  In float32 a near tie may fall to the other side: such
    sentences are printed with their scores, which must then be next to equal."""
    found = {}
    for name in FRAMEWORKS:
        files = {precision: tmp_path / f"{name}-{precision}.npz" for precision in ("fp64", "fp32")}
        command("common/in_environment.sh", application, name, "-m", "tests.end_to_end.decoded",
                name, ran(application, "pytorch", "quick").folder,
                *(f"{precision}={file}" for precision, file in files.items()))
        found[name] = {precision: np.load(file) for precision, file in files.items()}
    for precision, tolerance, most_unlike in (("fp64", 1e-9, 0), ("fp32", 1e-3, 5)):
        expected = found["pytorch"][precision]
        assert len(expected["pieces"]) == 500
        for name in FRAMEWORKS[1:]:
            other = found[name][precision]
            np.testing.assert_allclose(other["scores"], expected["scores"], rtol=tolerance)
            unlike = np.flatnonzero((other["pieces"] != expected["pieces"]).any(axis=1))
            for number in unlike:
                gap = abs(other["scores"][number] - expected["scores"][number])
                print(f"{name}, sentence {number}: unlike pytorch's, scores apart by {gap:.1e}")
                assert gap < 1e-4
            assert len(unlike) <= most_unlike


@pytest.mark.parametrize(("application", "framework_name"),
                         [cell for cell in CELLS if cell[0] == "translation"])
def test_the_log_says_how_bleu_is_computed(application, framework_name, ran):
    _, events = check_log.read(str(ran(application, framework_name, "quick").folder))
    found = {event["key"]: event for event in events}
    signature = found["bleu_signature"]["value"]
    assert signature.startswith("nrefs:1|case:lc|eff:no|tok:intl|smooth:exp|")
    length = found["max_sequence_length"]
    assert (length["value"], length["metadata"]["method"]) == (64, "discard")
