from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from dfbench.report.page.document import document, embed, esc, esc_name

PARTS = dict.fromkeys(("facts", "results", "ranking", "published", "reading"), "")
NAMES = ["</script>", "<!--", "&amp;", "a\u2028b", "'\"", "$results", "\\u003c", "日本"]


@pytest.mark.parametrize("name", NAMES)
def test_data_come_back_and_cannot_end_their_element(name: str) -> None:
    text = embed({name: [name, 0.5, None]})
    assert json.loads(text) == {name: [name, 0.5, None]}
    assert not set(text) & set("<>&\u2028")
    assert text.isascii()


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embed(float("nan"))


def test_policy_allows_the_pages_own_script_and_style_alone() -> None:
    text = document(PARTS, {})
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; ")
    for kind, tag in (("style", "<style>"), ("script", "<script>")):
        body = text.split(tag)[1].split(tag.replace("<", "</"))[0]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert not re.search(r" style=| on\w+=", text)


def test_escaped_text() -> None:
    assert esc("<b>\n\"'&") == "&lt;b&gt; &quot;&#x27;&amp;"
    assert esc_name("a_b/<c>") == "a_<wbr>b/<wbr>&lt;c&gt;"
    assert esc_name("") == ""
