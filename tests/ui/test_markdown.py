"""What a model writes loads nothing in the chat."""

import pytest

from dual_mode_streaming.ui._markdown import pieces_without_links, without_links

markdown_it = pytest.importorskip("markdown_it")

TEXTS = [
    "![](https://evil/?a)",
    "a ![x](//evil/a.png 'title') b",
    "![x][1]\n\n[1]: https://evil/a",
    "![x]\n\n[x]: https://evil/a",
    "![x][]\n\n> [x]:\n> https://evil/a",
    "[![x](https://evil/a)](https://evil/b)",
    "![a\nb]\n\n[a\nb]: https://evil/a",
    "- [x]: https://evil/a\n- ![x]",
    "![x\\]](https://evil/a)",
    "![[x]](https://evil/a)",
    "!![x](https://evil/a)",
    "[your bank](https://evil/a)",
    "[your bank]  \n(https://evil/a)",
]


def drawn(text):
    """The kinds of inline elements that are drawn."""
    tokens = markdown_it.MarkdownIt("commonmark").parse(text)
    return {child.type for token in tokens for child in token.children or ()}


@pytest.mark.parametrize("text", TEXTS)
def test_no_image_and_no_link_is_drawn_wherever_it_is_cut(text):
    for shown in (without_links(text), "".join(pieces_without_links(text))):
        assert not drawn(shown) & {"image", "link_open"}
        assert "evil" in shown
    for cut in range(len(text)):
        assert "".join(pieces_without_links([text[:cut], "", text[cut:]])) == without_links(text)


def test_other_markdown_and_code_stay():
    text = "# A\n\n**b** `vec![1]` <https://example.org>\n\n```\nlet x = vec![1, 2];\n```\n"
    assert without_links(text) == text
