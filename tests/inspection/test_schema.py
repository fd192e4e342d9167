import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from weakspot.inspection.inspection import ImageInfo, NotInspected

PUBLISHED = Path(__file__).parents[2] / "docs" / "inspection.schema.json"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_real_results_fit_the_schema(make_detector, make_pixels, validator, tmp_path, save_picture):
    detector = make_detector()
    for level in (60, 128, 200, 255):
        validator.validate(detector.inspect(make_pixels(level)).as_dict())
    path = save_picture(tmp_path / "a.png")
    validator.validate(detector.inspect(path).as_dict("heat_maps/a.png", "overlays/a.png"))
    validator.validate(NotInspected(ImageInfo(str(path)), detector.info, "cut short").as_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"decision": "fine"},
        {"decision": "not inspected"},
        {"defect_score": 1.5},
        {"raw_score": None},
        {"extra": 1},
        {"time": "today"},
        {"schema_version": 2},
    ],
)
def test_anything_else_does_not(make_detector, make_pixels, validator, change):
    published = make_detector().inspect(make_pixels()).as_dict() | change
    with pytest.raises(ValidationError):
        validator.validate(published)


def test_a_refused_picture_cannot_be_called_good(make_detector, validator):
    refused = NotInspected(ImageInfo("a.png"), make_detector().info, "cut short").as_dict()
    with pytest.raises(ValidationError):
        validator.validate(refused | {"decision": "good"})
