from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.browser import Page, browse


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browse(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    browser.look()
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    return browser
