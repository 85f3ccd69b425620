"""Generated pages say what the sources say."""

from __future__ import annotations

from tests import deviations_page


def test_the_page_of_deviations_is_up_to_date() -> None:
    assert deviations_page.PAGE.read_text() == deviations_page.page(), "run `make docs`"
