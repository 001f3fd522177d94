"""key=value words over the structured settings."""

from __future__ import annotations

import pytest

from moditalker.errors import SettingsError
from moditalker.settings import GenerateSettings, compose_settings, known_keys


def test_words_change_what_they_name_and_nothing_else() -> None:
    settings = compose_settings(["mtov.steps=4", "atom.guidance=1.5", "composite.colour_match=no"])
    assert settings.mtov.steps == 4 and settings.atom.guidance == 1.5
    assert not settings.composite.colour_match
    assert settings.atom.steps == GenerateSettings().atom.steps


def test_the_later_word_wins() -> None:
    assert compose_settings(["mtov.steps=4", "mtov.steps=6"]).mtov.steps == 6


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mtov.step=4", "no setting 'mtov.step'. Is it mtov.steps"),
        ("steps=4", "no setting 'steps'"),
        ("clip.mp4", "no setting 'clip.mp4'"),
        ("mtov.steps=many", "mtov.steps"),
        ("mtov.steps=0", "mtov.steps is 0; the least is 1"),
        ("mtov.steps=4,8", "mtov.steps"),
        ("atom.sampler=euler", "Take dpm-solver++, unipc, ddim"),
        ("atom.overlap=1", "below 1"),
        ("mtov.overlap=20", "the most is 8"),
        ("mtov.steps", "mtov.steps"),
    ],
)
def test_a_wrong_word_is_named(word: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        compose_settings([word])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_schema_is_flat_enough_to_list() -> None:
    assert {"atom.steps", "mtov.batch", "composite.keep_texture"} <= set(known_keys())
