"""The templates of pages that people read: one set of marks, numbers and colours for the report and the service."""

from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weakspot.errors import shown
from weakspot.evaluation import intervals
from weakspot.evaluation.charts import number


def page_templates(*packages: str) -> Environment:
    """The report's templates and, before them, those of other packages; everything is escaped, a missing name fails."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each, "templates") for each in (*packages, "weakspot.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_unbroken,
    )
    environment.filters |= {"share": intervals.share, "between": intervals.between, "number": number, "shown": shown}
    return environment


def read_template(name: str, package: str = "weakspot.evaluation") -> str:
    """A style or script of the templates as text."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


def _unbroken(value: Any) -> Any:
    """Keeps a number and its per cent sign on one line."""
    return value.replace(" %", "\u00a0%") if isinstance(value, str) and not isinstance(value, Markup) else value
