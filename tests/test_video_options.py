"""Options of encoders: what is not allowed is said in one line before anything is written."""

import pytest

import nlm
from nlm.io import Options
from nlm.io.video.rated import RATED, rated_options
from nlm.pipeline import denoise_file
from nlm.settings import Settings
from tests.clips import make_video

USUAL = (160, 96)


@pytest.mark.parametrize("encoder", RATED)
def test_the_limits_are_allowed_and_work(tmp_path, encoder):
    rated = RATED[encoder]
    make_video(tmp_path / "a.mkv", codec="ffv1", size=USUAL, count=3)
    for crf in rated.crfs:
        for preset in (rated.presets[-1], rated.preset) if crf else (rated.preset,):
            told = Options(codec=encoder, crf=crf, encoder_preset=str(preset))
            result = denoise_file(
                tmp_path / "a.mkv",
                tmp_path / "b.mkv",
                Settings(sigma=0.0, options=told),
                force=True,
            )
            assert result.status == "ok"


@pytest.mark.parametrize("encoder", RATED)
def test_what_lies_beyond_is_refused(encoder):
    least, most = RATED[encoder].crfs
    for crf in (least - 1, most + 0.5):
        with pytest.raises(nlm.UsageError, match=f"--crf .* {encoder}; .* {least} to {most}"):
            rated_options(encoder, Options(crf=crf), USUAL[0])
    for preset in ("bogus", "99", "3.5", "-99", ""):
        with pytest.raises(nlm.UsageError, match=f"--encoder-preset {preset} .*{encoder}; give"):
            rated_options(encoder, Options(encoder_preset=preset), USUAL[0])


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Options(encoder_preset="bogus"), "bogus.*libx264; give one of ultrafast"),
        (Options(codec="vp9", encoder_preset="slow"), "slow.*whole number from -8 to 8"),
        (Options(codec="av1", encoder_preset="99"), "99.*whole number from -1 to 13"),
        (Options(codec="hevc", crf=60), "--crf 60.*libx265; give a number from 0 to 51"),
        (Options(codec="h264", crf=55), "--crf 55.*libx264; give a number from 0 to 51"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_is_written(tmp_path, told, words, dry_run):
    make_video(tmp_path / "a.mkv", size=USUAL, count=1)
    with pytest.raises(nlm.UsageError, match=words):
        denoise_file(
            tmp_path / "a.mkv", tmp_path / "b.mkv", Settings(sigma=0.0, options=told),
            dry_run=dry_run,
        )  # fmt: skip
    assert [one.name for one in tmp_path.iterdir()] == ["a.mkv"]


def test_rates_of_av1_matter_at_their_ends(tmp_path):
    make_video(tmp_path / "a.mkv", codec="ffv1", size=USUAL, count=2)
    sizes = []
    for crf in RATED["libsvtav1"].crfs:
        told = Settings(sigma=0.0, options=Options(codec="av1", crf=crf))
        denoise_file(tmp_path / "a.mkv", tmp_path / f"{crf}.mkv", told)
        sizes.append((tmp_path / f"{crf}.mkv").stat().st_size)
    assert sizes[0] > 3 * sizes[1]
