"""Values of a cfg's text are replaced, and everything else stays."""

from __future__ import annotations

from darknet_py import cfg
from darknet_py.cfg.editing import replace_sections, replace_values


def test_comments_blanks_and_line_ends_are_kept() -> None:
    text = "# top\r\n[net]\r\nwidth = 8 # wide\r\n\r\n;x\r\n[yolo]\r\n  num =  9#n\r\n# end\r\n"
    edited = replace_values(cfg.loads(text), {1: {"num": "3", "mask": "0,1"}, 0: {"width": "16"}})
    assert edited == "# top\r\n[net]\r\nwidth = 16 # wide\r\n\r\n;x\r\n[yolo]\r\n  num =  3#n\r\nmask=0,1\r\n# end\r\n"


def test_the_first_line_of_a_repeated_key_is_changed() -> None:
    assert replace_values(cfg.loads("[net]\nwidth=1\nwidth=2"), {0: {"width": "3"}}) == "[net]\nwidth=3\nwidth=2"


def test_new_keys_follow_the_last_entry_of_their_section() -> None:
    text = "[net]\nwidth=1\n\n[yolo]\n\n[net]"
    edits = {0: {"a": "1", "b": "2"}, 1: {"num": "3"}}
    assert replace_values(cfg.loads(text), edits) == "[net]\nwidth=1\na=1\nb=2\n\n[yolo]\nnum=3\n\n[net]"


def test_without_edits_the_text_is_the_same() -> None:
    text = "\ufeff[net] # x\n width = 1\n\n"
    assert replace_values(cfg.loads(text), {}) == text


def test_sections_are_removed_and_replaced_between_their_comments() -> None:
    text = "[net]\r\nwidth=1\r\n\r\n# first\r\n[conv]\r\n# inner\r\nsize=1\r\n# after\r\n\r\n"
    text += "[conv]\r\n\r\n\r\n# last\r\n[yolo]\r\n"
    sections = {1: cfg.Section("empty", (cfg.Entry("a", "1"),)), 2: None}
    edited = replace_sections(cfg.loads(text), sections)
    assert edited == "[net]\r\nwidth=1\r\n\r\n# first\r\n[empty]\r\na=1\r\n# after\r\n\r\n# last\r\n[yolo]\r\n"
    assert replace_sections(cfg.loads(text), {}) == text
