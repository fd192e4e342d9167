"""The report's files: what they hold, that the page loads nothing and runs nothing foreign, and that nothing of others
is written over."""

import csv
import io
import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.conftest import SIZE, THRESHOLDS, made_inspection, made_mask, made_sample
from weakspot.errors import ImageError, OutputError
from weakspot.evaluation import pictures, report
from weakspot.evaluation.evaluate import Background, evaluate
from weakspot.evaluation.threshold import choose_thresholds
from weakspot.settings import ThresholdSettings, TrainSettings, as_plain

SCORES = (
    {f"g{i:02}/0.png": (0, -3 + 0.01 * i) for i in range(30)}
    | {"alarm/0.png": (0, 2.5)}
    | {f"b{i}/0.png": (1, i - 2.0) for i in range(8)}
)
HOSTILE = "<img src=x onerror=alert(1)>\"'&\n\u202egpj.exe"


def read_pixels(sample):
    return np.random.default_rng(0).integers(0, 255, SIZE, dtype=np.uint8)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag, **wanted):
        return [
            attrs
            for name, attrs in self.found
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture
def page(made):
    evaluation = made(
        SCORES,
        Background(settings=as_plain(TrainSettings()), audit=("two files are equal",), held_out=True),
        masks=True,
    )
    return report.report_html(evaluation, read_pixels, made_mask)


def test_the_three_files_are_written_and_named(made, tmp_path):
    paths = report.write_report(tmp_path / "new" / "evaluation", made(SCORES))
    assert [path.name for path in paths] == ["metrics.json", "scores.csv", "report.html"]
    assert all(path.stat().st_size for path in paths)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(report.NAMES)


def test_the_page_refers_to_nothing_outside_itself(page):
    for tag, attrs in Elements(page).found:
        for name in ("src", "href", "action", "srcset", "poster", "data"):
            assert (attrs.get(name) or "data:").startswith(("data:image/", "data:", "#")), (tag, attrs)
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest|innerHTML", page)


def test_the_page_lets_only_its_own_script_run(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    (policy,) = Elements(page).of("meta", **{"http-equiv": "Content-Security-Policy"})
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy["content"]
    assert "default-src 'none'" in policy["content"]
    assert page.count("<script") == 1
    assert not [attrs for _, attrs in Elements(page).found if any(name.startswith("on") for name in attrs)]


def test_names_and_reasons_are_text_whatever_they_hold(tmp_path):
    samples = [made_sample(HOSTILE, 0), made_sample("bad", 1, kind=HOSTILE), made_sample("refused" + HOSTILE, 1)]

    def inspect(sample):
        if sample.path.name.startswith("refused"):
            raise ImageError(HOSTILE)
        return replace(made_inspection(sample, 3.0), warnings=(HOSTILE,))

    background = Background(
        title=HOSTILE,
        data=HOSTILE,
        audit=(HOSTILE,),
        settings={HOSTILE: [HOSTILE]},
        limits=(HOSTILE,),
        parts={HOSTILE: {HOSTILE: 1}},
    )
    found = evaluate(inspect, samples, THRESHOLDS, background=background)
    paths = report.write_report(tmp_path, found, read_pixels)
    elements = Elements(paths[2].read_text(encoding="utf-8"))
    assert not elements.of("img", src="x")
    assert "\u202e" not in "".join(card["data-name"] for card in elements.of("li") if "data-name" in card)
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text(encoding="utf-8"), newline="")))
    assert rows[0]["id"].replace("\r\n", "\n").endswith("gpj.exe")
    json.loads(paths[0].read_text(encoding="utf-8"))


def test_all_decisions_are_told_by_word_and_shape(page):
    for word in ("good", "review", "bad"):
        assert f'<use href="#shape-{word}"/></svg>{word}' in page
        assert f'id="shape-{word}"' in page


def test_the_verdict_names_counts_intervals_and_limits(page):
    text = re.sub(r"<[^>]+>", "", page).replace("\u00a0", " ")
    assert "1 of 8 bad pictures would pass as good; 1 of 31 good ones would be called bad." in text
    assert "1 missed of 8: escapes below 48 % (one-sided 95 %)" in text
    assert "not shown yet, needs 38 more bad pictures without a miss" in text
    assert "not used for training, for the thresholds or for the recipe" in text
    assert "It is no safety function" in text


def test_each_mistake_is_shown_bare_and_with_its_heat(page):
    assert page.count('class="pic bare-only"') == 2  # one escape, one false alarm
    assert "Missed: bad pictures called good" in page
    assert "False alarms: good pictures called bad" in page


def test_where_nothing_was_wrong_the_closest_calls_are_shown(made):
    text = report.report_html(
        made({f"g{i}": (0, -3.0 - i) for i in range(9)} | {f"b{i}": (1, 3.0 + i) for i in range(9)}), read_pixels
    )
    assert "No bad picture was called good. The closest calls" in text
    assert "No good picture was called bad. The closest calls" in text
    assert re.findall(r"<b>(b\d)</b>", text) == ["b0", "b1", "b2", "b3"]


@pytest.mark.parametrize("scores", [{"a": (1, 3.0), "b": (1, -3.0)}, {"a": (0, 3.0)}, {"a": (0, -3.0), "b": (1, 3.0)}])
def test_a_page_is_made_of_one_class_or_one_picture_too(made, scores):
    assert "<h2" in report.report_html(made(scores), read_pixels)


def test_without_access_to_the_files_the_page_says_so(made):
    text = report.report_html(made(SCORES))
    assert "data:image/jpeg" not in text
    assert "no picture: the report was made without access to the files" in text


def test_a_file_that_has_gone_since_leaves_a_note(made):
    def gone(sample):
        raise ImageError(f"{sample.path}: is not there any more")

    assert "is not there any more" in report.report_html(made(SCORES), gone)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [(SIZE, np.uint8), ((*SIZE, 3), np.uint8), (SIZE, np.uint16), ((*SIZE, 3), np.uint16), ((1, 4000), np.uint8)],
)
def test_grey_colour_and_16_bit_pictures_are_shown(made, shape, dtype):
    evaluation = made({"a": (1, 3.0)})
    item = pictures.layers_of(
        evaluation.rows[0], lambda _: np.full(shape, np.iinfo(dtype).max // 16, dtype=dtype), None, 10_000
    )
    shown = Image.open(io.BytesIO(b64decode(item.picture.partition(",")[2])))
    assert shown.format == "JPEG"
    assert shown.width * shown.height <= 10_100
    assert shown.mode == ("RGB" if len(shape) == 3 else "L")


def test_a_12_bit_camera_is_not_shown_black():
    ramp = np.linspace(0, 4095, 48 * 64).reshape(48, 64).astype(np.uint16)
    seen = pictures.as_8_bit(ramp)
    assert (seen.min(), seen.max()) == (0, 255)
    assert (np.diff(seen.ravel().astype(int)) >= 0).all()


def test_the_heat_layer_is_one_pixel_a_cell_on_a_fixed_scale():
    layer = Image.open(io.BytesIO(b64decode(pictures.heat_layer(np.float32([[0, 0.45, 1.0]])).partition(",")[2])))
    pixels = np.asarray(layer.convert("RGBA"))
    assert layer.size == (3, 1)
    assert pixels[0, :, 3].tolist() == [0, 130, 255]  # fades out between 0.5 and 0.4
    assert pixels[0, 2, 0] > pixels[0, 2, 2]  # red, not blue


def test_the_outline_leaves_the_defect_bare():
    mask = made_mask(Path(), *SIZE)
    layer = np.asarray(
        Image.open(io.BytesIO(b64decode(pictures.outline_layer(mask).partition(",")[2]))).convert("RGBA")
    )
    assert (layer[mask][:, 3] == 0).all()
    assert layer[14, 24, 3] > 0
    assert layer[40, 60, 3] == 0


def test_of_too_many_pictures_the_telling_ones_are_shown_and_the_others_counted(made, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_SHOWN", 10)
    evaluation = made(SCORES)
    chosen = pictures.select(evaluation.rows, read_pixels, None)
    kinds = [(item.row.sample.label, item.row.inspection.decision) for item in chosen.gallery]
    assert kinds == [(0, "bad"), (1, "good"), (1, "review"), (1, "review"), *[(1, "bad")] * 5, (0, "good")]
    assert chosen.gallery[-1].row.sample.id == "g29/0.png"  # the good one that comes nearest
    assert chosen.left_out == 29
    assert "29 of 39 pictures are left out here" in re.sub(r"<[^>]+>", "", report.report_html(evaluation, read_pixels))


def test_the_page_stays_small_however_large_the_pictures_are(made, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 60_000)
    evaluation = made(SCORES)
    noise = np.random.default_rng(0).integers(0, 255, (400, 400), dtype=np.uint8)
    chosen = pictures.select(evaluation.rows, lambda _: noise, None)
    assert sum(item.bytes for item in chosen.gallery) <= 60_000
    assert chosen.left_out == 39 - len(chosen.gallery) > 0


def test_metrics_json_holds_plain_numbers_by_their_names_in_records(made):
    evaluation = made(SCORES, masks=True)
    content = json.loads(report.metrics_json(evaluation), parse_constant=lambda name: pytest.fail(name))
    names = (
        "average_precision",
        "auroc",
        "best_f1",
        "false_negatives",
        "false_positives",
        "false_positives_at_full_recall",
    )
    for name in (
        *names,
        *(f"heat_{name}" for name in names),
        "hit_rate",
        "cell_iou",
        "pixel_auroc",
        "pixel_ap",
        "pixel_aupro",
        "escapes",
        "false_alarms",
    ):
        assert isinstance(content["metrics"][name], int | float), name
    assert content["counts"]["escapes"] == 1
    assert content["test"] is False  # nobody said that the pictures had been kept apart


def test_the_choice_of_thresholds_is_told(made):
    chosen = choose_thresholds([0, 0, 1, 1], [-3, -2, 2, 3], ThresholdSettings(), ids=list("abcd"))
    text = report.report_html(made(SCORES, Background(threshold_evidence=chosen.evidence)))
    assert "0 missed of 2: escapes below 78\u00a0%" in text
    assert "Pictures on which the thresholds hang" in text


def test_labels_that_look_wrong_are_shown_with_their_pictures_where_they_are_at_hand(made):
    scores = np.append(np.linspace(-6, -4, 40), [5.5, *np.linspace(4, 6, 10)])
    ids = [f"<b>{i}.png" for i in range(51)]
    evidence = choose_thresholds([0] * 41 + [1] * 10, scores, ThresholdSettings(), ids=ids).evidence
    assert [one["picture"] for one in evidence["label_doubts"]["pictures"]] == ["<b>40.png"]
    for doubted in ((), (made_sample("<b>40.png", 0),)):
        text = report.report_html(made(SCORES, Background(threshold_evidence=evidence, doubted=doubted)), read_pixels)
        card = text[text.index('id="doubts"') :][:2000]
        assert "1 of 41 good pictures scores like bad ones, out of fold: is the label right of &lt;b&gt;40.png?" in card
        assert ("data:image/jpeg" in card) == bool(doubted)
    assert 'id="doubts"' not in report.report_html(made(SCORES), read_pixels)


def test_what_was_promised_stands_beside_what_was_found(made):
    evidence = choose_thresholds([0] * 40 + [1] * 30, np.arange(70.0), ThresholdSettings()).evidence
    assert evidence["promised"] == {"escapes": [0, 30], "false_alarms": [0, 40]}
    evaluation = made(SCORES, Background(threshold_evidence=evidence))
    assert json.loads(report.metrics_json(evaluation))["promises"] == {
        "escapes": {"promised": [0, 30], "found": [1, 8], "expected": [0, 1], "kept": True},
        "false_alarms": {"promised": [0, 40], "found": [1, 31], "expected": [0, 3], "kept": True},
    }
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", report.report_html(evaluation)))
    assert "Promised and found" in words
    assert "escapes 0 of 30 1 of 8 expected 0 to 1 yes" in words
    assert "good pictures for review 0 of 40 0 of 31 –" in words
    assert "bad pictures for review 0 of 30 2 of 8 –" in words
    assert "Promised and found" not in report.report_html(made(SCORES))


def test_the_limits_that_were_set_are_held_against_the_count_too(made):
    settings = ThresholdSettings(max_escape_rate=0.2, max_false_alarm_rate=0.0)
    evidence = choose_thresholds([0] * 40 + [1] * 30, np.arange(70.0), settings).evidence
    rates = json.loads(report.metrics_json(made(SCORES, Background(threshold_evidence=evidence))))["rates"]
    limits = {rate["key"]: [check["limit"] for check in rate["limits"]] for rate in rates}
    assert limits == {"escapes": [0.2, 0.1, 0.05, 0.01], "false_alarms": [0.05, 0.01], "review": []}


def test_thresholds_chosen_without_bad_pictures_are_told_and_promise_no_escapes(made):
    evidence = choose_thresholds([0] * 40, np.arange(40.0), ThresholdSettings()).evidence
    words = re.sub(
        r"\s+", " ", re.sub(r"<[^>]+>", " ", report.report_html(made(SCORES, Background(threshold_evidence=evidence))))
    )
    assert "no bad picture was there, so nothing is known about escapes" in words
    promised = words[words.index("Promised and found") :][:600]
    assert "false alarms 0 of 40 1 of 31" in promised
    assert "escapes" not in promised
    assert "bad pictures for review" not in promised


def test_scores_csv_has_a_row_a_picture_and_the_refused_ones_with_their_reason():
    samples = [made_sample("=1+1.png", 0), made_sample("bad, really", 1, mask=True), made_sample("broken", 1)]

    def inspect(sample):
        if sample.path.name == "broken":
            raise ImageError("broken: ends early")
        return made_inspection(sample, -0.5)

    text = report.scores_csv(evaluate(inspect, samples, THRESHOLDS, read_mask=made_mask))
    first, second, third = csv.DictReader(io.StringIO(text, newline=""))
    assert text.count("\r\n") == 4
    assert (first["id"], first["raw_score"], first["decision"]) == ("'=1+1.png", "-0.5", "review")
    assert (second["id"], second["hit"], float(second["cell_iou"])) == ("bad, really", "1", 1.0)
    assert (third["decision"], third["reason"], third["raw_score"]) == ("not inspected", "broken: ends early", "")


def test_an_earlier_evaluation_is_replaced_only_on_wish(made, tmp_path):
    report.write_report(tmp_path, made(SCORES))
    before = (tmp_path / "metrics.json").read_bytes()
    with pytest.raises(OutputError, match="of an earlier evaluation; replace it with --overwrite"):
        report.write_report(tmp_path, made({"a": (0, -3.0)}))
    assert (tmp_path / "metrics.json").read_bytes() == before
    report.write_report(tmp_path, made({"a": (0, -3.0)}), overwrite=True)
    assert (tmp_path / "metrics.json").read_bytes() != before


@pytest.mark.parametrize("name", report.NAMES)
def test_a_file_of_someone_else_is_never_written_over(made, tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("other files in the folder are no hindrance")
    with pytest.raises(OutputError, match="not made by an evaluation"):
        report.write_report(tmp_path, made(SCORES), overwrite=True)
    assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "notes.txt"])


def test_a_link_or_a_folder_in_the_way_is_left_alone(made, tmp_path):
    (tmp_path / "scores.csv").mkdir()
    with pytest.raises(OutputError, match="not made by an evaluation"):
        report.check_output(tmp_path, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        report.write_report(tmp_path / "file", made(SCORES))
