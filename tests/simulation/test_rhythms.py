from itertools import pairwise

import numpy as np
import pytest

from ecg.simulation.heart import BEAT_KINDS
from ecg.simulation.rhythms import AV_BLOCKS, PACING_MODES, RHYTHMS, Rhythm, beat_times


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", RHYTHMS)
@pytest.mark.parametrize("duration_s", [0.5, 10.0, 60.0])
def test_beats_cover_the_recording_in_order(kind, duration_s):
    onsets, kinds = beat_times(Rhythm(kind), duration_s, rng())
    assert onsets[0] <= 0
    assert onsets[-1] >= duration_s + 1.0
    assert (np.diff(onsets) >= 0.3 - 1e-9).all()
    assert len(kinds) == len(onsets)
    assert set(kinds) <= set(BEAT_KINDS)


@pytest.mark.parametrize("rate", [45.0, 75.0, 140.0])
@pytest.mark.parametrize("kind", ["sinus", "junctional", "paced", "fibrillation"])
def test_the_mean_rate_is_that_of_the_rhythm(kind, rate):
    onsets, _ = beat_times(Rhythm(kind, rate), 600.0, rng())
    assert 60 / np.diff(onsets).mean() == pytest.approx(rate, rel=0.03)


def test_respiration_varies_sinus_intervals():
    onsets, _ = beat_times(Rhythm(variation_s=0.3), 300.0, rng())
    low, high = np.quantile(np.diff(onsets), [0.02, 0.98])
    assert high - low == pytest.approx(0.3, abs=0.05)


def test_fibrillation_is_irregular_and_pacing_is_not():
    spread = {}
    for kind in ("fibrillation", "sinus", "paced"):
        intervals = np.diff(beat_times(Rhythm(kind, irregularity=0.25), 300.0, rng())[0])
        spread[kind] = intervals.std() / intervals.mean()
    assert spread["fibrillation"] == pytest.approx(0.25, abs=0.04)
    assert spread["paced"] == pytest.approx(0, abs=1e-9)
    assert 0.01 < spread["sinus"] < 0.06


@pytest.mark.parametrize("ratios", [(2,), (4,), (2, 4)])
def test_flutter_intervals_are_multiples_of_the_atrial_interval(ratios):
    onsets, _ = beat_times(Rhythm("flutter", atrial_hz=5.0, ratios=ratios), 60.0, rng())
    assert set(np.rint(np.diff(onsets) * 5.0).astype(int)) == set(ratios)


def test_a_premature_ventricular_beat_has_a_full_compensatory_pause():
    rhythm = Rhythm(rate_bpm=75, variation_s=0.0, premature_ventricular=0.1)
    onsets, kinds = beat_times(rhythm, 300.0, rng())
    around = [
        onsets[i + 1] - onsets[i - 1]
        for i, kind in enumerate(kinds[:-1])
        if kind == "premature ventricular"
    ]
    assert len(around) > 10
    np.testing.assert_allclose(around, 2 * 0.8, rtol=0.1)


def test_a_premature_atrial_beat_resets_the_sinus_node():
    rhythm = Rhythm(rate_bpm=75, variation_s=0.0, premature_atrial=0.1)
    onsets, kinds = beat_times(rhythm, 300.0, rng())
    early = [i for i, kind in enumerate(kinds[:-1]) if kind == "premature atrial"]
    assert len(early) > 10
    assert max(onsets[i] - onsets[i - 1] for i in early) < 0.85 * 0.8
    assert np.mean([onsets[i + 1] - onsets[i - 1] for i in early]) < 1.9 * 0.8


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("duration_s", [5.0, 10.0, 60.0])
def test_both_kinds_of_premature_beats_are_guaranteed(seed, duration_s):
    rhythm = Rhythm(rate_bpm=70, premature_atrial=1e-9, premature_ventricular=1e-9)
    onsets, kinds = beat_times(rhythm, duration_s, rng(seed))
    for kind in ("premature atrial", "premature ventricular"):
        times = [time for time, k in zip(onsets, kinds, strict=True) if k == kind]
        assert len(times) == 1
        assert 0 < times[0] < duration_s


def test_no_premature_beat_follows_another():
    _, kinds = beat_times(Rhythm(premature_atrial=1.0), 60.0, rng())
    assert {"sinus", "premature atrial"} == set(kinds)
    assert all(kind != following for kind, following in pairwise(kinds))


def test_a_ventricular_beat_occurs_beside_atrial_bigeminy():
    rhythm = Rhythm(premature_atrial=1.0, premature_ventricular=0.1)
    for seed in range(10):
        _, kinds = beat_times(rhythm, 10.0, rng(seed))
        assert "premature ventricular" in kinds


@pytest.mark.parametrize("kind", ["sinus", "fibrillation"])
def test_no_beat_occurs_within_the_refractory_period(kind):
    rhythm = Rhythm(kind, 110.0, premature_atrial=0.3, premature_ventricular=0.3, refractory_s=0.38)
    onsets, _ = beat_times(rhythm, 300.0, rng())
    assert np.diff(onsets).min() >= 0.38 - 1e-9


@pytest.mark.parametrize("mode", PACING_MODES)
def test_all_paced_beats_are_of_the_pacing_mode(mode):
    assert set(beat_times(Rhythm("paced", pacing=mode), 10.0, rng())[1]) == {mode}


def blocked(block, cycle=3, rate=40.0):
    """Return the times of P waves and of QRS complexes, s, of a minute with 75 P waves."""
    rhythm = Rhythm(rate_bpm=rate, av_block=block, av_cycle=cycle, atrial_hz=1.25)
    onsets, kinds = beat_times(rhythm, 60.0, rng())
    assert (np.diff(onsets) >= 0).all()
    kinds = np.array(kinds)
    return onsets[kinds != "no P"], onsets[kinds != "P alone"]


@pytest.mark.parametrize("block", AV_BLOCKS)
def test_with_an_av_block_the_p_waves_are_regular(block):
    p_waves, _ = blocked(block)
    assert np.diff(p_waves).mean() == pytest.approx(0.8, rel=0.02)
    assert np.diff(p_waves).std() < 0.02


@pytest.mark.parametrize("cycle", [2, 3, 5])
def test_in_mobitz_ii_every_pr_interval_is_the_same_and_one_p_wave_is_not_conducted(cycle):
    p_waves, beats = blocked("Mobitz II", cycle)
    assert set(beats) <= set(p_waves)
    assert len(beats) / len(p_waves) == pytest.approx((cycle - 1) / cycle, abs=0.03)
    pauses = np.rint(np.diff(beats) / 0.8)
    assert set(pauses) == ({2} if cycle == 2 else {1, 2})


def test_in_mobitz_i_pr_intervals_grow_and_rr_intervals_shrink_until_a_pause():
    p_waves, beats = blocked("Mobitz I", 5)
    delays = [time - p_waves[p_waves <= time + 1e-9].max() for time in beats]
    first = int(np.argmin(delays[:4]))  # of a cycle of four beats
    for start in range(first, len(beats) - 4, 4):
        cycle = delays[start : start + 4]
        assert cycle[0] == pytest.approx(0.0, abs=1e-9)
        assert (np.diff(cycle) > 0.005).all()
        rr = np.diff(beats[start : start + 5])
        assert rr[0] > rr[2]
        assert 1.2 < rr[3] < 1.6  # shorter than two PP intervals


def test_in_a_complete_block_beats_are_regular_and_independent_of_the_p_waves():
    p_waves, beats = blocked("complete", rate=40.0)
    assert 60 / np.diff(beats).mean() == pytest.approx(40, rel=0.03)
    delays = [time - p_waves[p_waves <= time].max() for time in beats[1:-1]]
    assert np.ptp(delays) > 0.5


def test_unknown_rhythms_are_refused():
    with pytest.raises(ValueError, match=r"av_block: .*found 'first'"):
        Rhythm(av_block="first")
    with pytest.raises(ValueError, match="at least 2 P waves, found 1"):
        Rhythm(av_block="Mobitz II", av_cycle=1)
    with pytest.raises(ValueError, match=r"kind: .*found 'waltz'"):
        Rhythm("waltz")
    with pytest.raises(ValueError, match=r"pacing: .*found 'VVI'"):
        Rhythm("paced", pacing="VVI")
