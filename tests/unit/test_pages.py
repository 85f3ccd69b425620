"""Generated pages say what the sources say."""

from __future__ import annotations

import html
import re

from tests import deviations_page, picture


def test_the_page_of_deviations_is_up_to_date() -> None:
    assert deviations_page.PAGE.read_text() == deviations_page.page(), "run `make docs`"


def test_the_picture_shows_what_the_readme_types_and_asks_nobody_for_anything() -> None:
    text = picture.TARGET.read_text()
    shown = html.unescape(re.sub("<[^>]*>", "", text)).replace("\xa0", " ")
    assert all(f"$ {command}" in shown for command in picture.commands()), "run `make picture`"
    assert not re.search(r"\b(url\((?!#)|href|src)", text) and "/tmp" not in text and "/home" not in text
