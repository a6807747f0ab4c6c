"""The page's HTML: it asks for nothing from outside, and its places are filled."""

import re
from html.parser import HTMLParser

from restore_jax.evaluate.page import PAGE, SECTION


class Balance(HTMLParser):
    """Elements that are open; void ones never are."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing():
    part = SECTION.format(name="a", before="data:,1", after="data:,2", maps="", rows="")
    page = PAGE.format(rows="", sections=part, more="")
    balance = Balance()
    balance.feed(page.removeprefix("<!doctype html>"))
    assert balance.open == []
    assert not re.search(r"https?:|//|url\(|@import|<link", page)
    assert "{{" not in page
    assert re.findall(r'src="([^"]*)"', page) == ["data:,1", "data:,2"]
