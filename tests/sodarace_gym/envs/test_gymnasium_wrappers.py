"""Every wrapper of Gymnasium that there is works on our environments, or the docs say what it needs or why it does not fit."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import gymnasium.wrappers as single
import gymnasium.wrappers.vector as batch
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from sodarace_gym import BoxActions, NumericInfo, SequentialActions, SodaraceControlEnv, SodaraceEnv, SodaraceVectorEnv

Wrap = Callable[[Any], Any]

IDS = {"programs": "Sodarace-Random-v0", "control": "SodaraceControl-Bumpy-v0"}
DURATION = 0.2  # simulated seconds: four steps of a control episode
STEPS = 5  # beyond its end


def flat(env: Any) -> Any:
    return single.FlattenObservation(env)


def picture(env: Any) -> Any:
    return single.AddRenderObservation(env, render_only=True)


def numeric(env: Any) -> Any:
    return NumericInfo(env if isinstance(env.unwrapped, SodaraceControlEnv) else BoxActions(env))


def limited(env: Any) -> Any:
    return single.TimeLimit(env, 5)


def doubled(value: Any) -> Any:
    return 2 * value


def same(value: Any) -> Any:
    return value


def folder(env: Any) -> str:
    return str(FOLDERS.mkdtemp() / "videos")


class FOLDERS:
    """Where videos go: set for each test."""

    mkdtemp: Callable[[], Path]


@pytest.fixture(autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    FOLDERS.mkdtemp = staticmethod(lambda: tmp_path_factory.mktemp("films"))  # type: ignore[assignment]


SINGLE: dict[str, Wrap] = {
    "AddRenderObservation": lambda env: single.AddRenderObservation(env, render_only=False),
    "AddWhiteNoise": lambda env: single.AddWhiteNoise(env, 0.5),
    "ArrayConversion": lambda env: single.ArrayConversion(env, env_xp=np, target_xp=np),
    "Autoreset": lambda env: single.Autoreset(env),
    "ClipAction": lambda env: single.ClipAction(env),
    "ClipReward": lambda env: single.ClipReward(env, 0, 1),
    "DelayObservation": lambda env: single.DelayObservation(env, 1),
    "DiscretizeAction": lambda env: single.DiscretizeAction(env, 3, multidiscrete=True),
    "DiscretizeObservation": lambda env: single.DiscretizeObservation(env, 3, multidiscrete=True),
    "DtypeObservation": lambda env: single.DtypeObservation(env, np.float64),
    "FilterObservation": lambda env: single.FilterObservation(env, ["floor"]),
    "FlattenObservation": flat,
    "FrameStackObservation": lambda env: single.FrameStackObservation(env, 2),
    "GrayscaleObservation": lambda env: single.GrayscaleObservation(env),
    "HumanRendering": lambda env: single.HumanRendering(env),
    "MaxAndSkipObservation": lambda env: single.MaxAndSkipObservation(env, 2),
    "NormalizeObservation": lambda env: single.NormalizeObservation(env),
    "NormalizeReward": lambda env: single.NormalizeReward(env),
    "NumpyToTorch": lambda env: single.NumpyToTorch(env),
    "ObstructView": lambda env: single.ObstructView(env, obstructed_pixels_ratio=0.5, obstruction_width=20),
    "OrderEnforcing": lambda env: single.OrderEnforcing(env),
    "PassiveEnvChecker": lambda env: single.PassiveEnvChecker(env),
    "RecordEpisodeStatistics": lambda env: single.RecordEpisodeStatistics(env),
    "RecordVideo": lambda env: single.RecordVideo(env, folder(env)),
    "RenderCollection": lambda env: single.RenderCollection(env),
    "RepeatAction": lambda env: single.RepeatAction(env, 2),
    "RescaleAction": lambda env: single.RescaleAction(env, 0, 2),
    "RescaleObservation": lambda env: single.RescaleObservation(env, -1, 1),
    "ReshapeObservation": lambda env: single.ReshapeObservation(env, (2, env.observation_space.shape[0] // 2)),
    "ResizeObservation": lambda env: single.ResizeObservation(env, (32, 64)),
    "StickyAction": lambda env: single.StickyAction(env, 0.5),
    "TimeAwareObservation": lambda env: single.TimeAwareObservation(env),
    "TimeLimit": lambda env: single.TimeLimit(env, 3),
    "TransformAction": lambda env: single.TransformAction(env, same, env.action_space),
    "TransformObservation": lambda env: single.TransformObservation(env, same, env.observation_space),
    "TransformReward": lambda env: single.TransformReward(env, doubled),
}
BATCH: dict[str, Wrap] = {
    "ArrayConversion": lambda envs: batch.ArrayConversion(envs, env_xp=np, target_xp=np),
    "ClipAction": lambda envs: batch.ClipAction(envs),
    "ClipReward": lambda envs: batch.ClipReward(envs, 0, 1),
    "DictInfoToList": lambda envs: batch.DictInfoToList(envs),
    "DtypeObservation": lambda envs: batch.DtypeObservation(envs, np.float64),
    "FilterObservation": lambda envs: batch.FilterObservation(envs, ["floor"]),
    "FlattenObservation": lambda envs: batch.FlattenObservation(envs),
    "GrayscaleObservation": lambda envs: batch.GrayscaleObservation(envs),
    "HumanRendering": lambda envs: batch.HumanRendering(envs),
    "NormalizeObservation": lambda envs: batch.NormalizeObservation(envs),
    "NormalizeReward": lambda envs: batch.NormalizeReward(envs),
    "NumpyToTorch": lambda envs: batch.NumpyToTorch(envs),
    "RecordEpisodeStatistics": lambda envs: batch.RecordEpisodeStatistics(envs),
    "RecordVideo": lambda envs: batch.RecordVideo(envs, folder(envs), video_length=1),
    "RescaleAction": lambda envs: batch.RescaleAction(envs, 0, 2),
    "RescaleObservation": lambda envs: batch.RescaleObservation(envs, -1, 1),
    "ReshapeObservation": lambda envs: batch.ReshapeObservation(envs, (2, envs.single_observation_space.shape[0] // 2)),
    "ResizeObservation": lambda envs: batch.ResizeObservation(envs, (32, 64)),
    "TransformAction": lambda envs: batch.TransformAction(envs, same, envs.action_space, envs.single_action_space),
    "TransformObservation": lambda envs: batch.TransformObservation(
        envs, same, envs.observation_space, envs.single_observation_space
    ),
    "TransformReward": lambda envs: batch.TransformReward(envs, doubled),
    "VectorizeTransformAction": lambda envs: batch.VectorizeTransformAction(
        envs, single.TransformAction, func=same, action_space=envs.single_action_space
    ),
    "VectorizeTransformObservation": lambda envs: batch.VectorizeTransformObservation(
        envs, single.TransformObservation, func=same, observation_space=envs.single_observation_space
    ),
    "VectorizeTransformReward": lambda envs: batch.VectorizeTransformReward(envs, single.TransformReward, func=doubled),
}
UNFIT = {"AtariPreprocessing", "JaxToNumpy", "JaxToTorch"}
"""What fits no environment of ours; the docs say why."""

BENEATH: dict[str, dict[str, Wrap]] = {
    "programs": {
        **dict.fromkeys(["ClipAction", "RescaleAction", "DiscretizeAction"], BoxActions),
        **dict.fromkeys(["DtypeObservation", "DiscretizeObservation", "MaxAndSkipObservation"], flat),
        **dict.fromkeys(["NormalizeObservation", "RescaleObservation", "ReshapeObservation"], flat),
        **dict.fromkeys(["GrayscaleObservation", "ResizeObservation"], picture),
        **dict.fromkeys(["ArrayConversion", "NumpyToTorch"], numeric),
        "TimeAwareObservation": limited,
    },
    "control": {
        **dict.fromkeys(["GrayscaleObservation", "ResizeObservation"], picture),
        **dict.fromkeys(["ArrayConversion", "NumpyToTorch"], numeric),
        "TimeAwareObservation": limited,
    },
}
"""What an environment of each kind needs beneath a wrapper."""

NEEDS = {"ArrayConversion": ("array_api_compat",), "NumpyToTorch": ("array_api_compat", "torch")}
LACKING = {name for name, packages in NEEDS.items() if not all(map(importlib.util.find_spec, packages))}
"""Wrappers for which Gymnasium asks for packages that are not here, and that the environments do without."""

NO_FIT = {("control", "FilterObservation")}
NEEDS_RENDERING = {
    *("AddRenderObservation", "AddWhiteNoise", "GrayscaleObservation", "HumanRendering", "ObstructView", "RecordVideo"),
    *("RenderCollection", "ResizeObservation"),
}
OPENCV = {"batch": {"HumanRendering", "ResizeObservation"}, "single": {"ResizeObservation"}}
CHANGES_REWARDS = {
    *("ClipReward", "NormalizeReward", "TransformReward", "VectorizeTransformReward"),
    *("MaxAndSkipObservation", "RepeatAction"),
    *("ClipAction", "DiscretizeAction", "RescaleAction"),
    *(
        "AddWhiteNoise",
        "ObstructView",
        "StickyAction",
    ),  # draw from the environment's generator, as Sodarace-Random does
    *("Autoreset", "TimeAwareObservation", "TimeLimit"),
}


def without_opencv(kind: str, name: str) -> bool:
    return name in OPENCV[kind] and importlib.util.find_spec("cv2") is None


@contextmanager
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Gymnasium's own: a space of float64 is compared with bounds of float32; a mode of recording is described.
        warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
        warnings.filterwarnings("ignore", ".*autoreset mode is same-step", UserWarning)
        warnings.filterwarnings("ignore", ".*zero frames to save", UserWarning)
        yield


def is_documented(name: str, *documented: type) -> None:
    for one in documented:
        assert f"`{name}`" in (one.__doc__ or "").partition("## Wrappers")[2].partition("## Arguments")[0], (name, one)


def test_every_wrapper_of_gymnasium_is_listed() -> None:
    """Fails when a new Gymnasium brings a new wrapper: try it, and say in the docs what it needs or why it does not fit."""
    assert set(single.__all__) - {"vector"} <= SINGLE.keys() | UNFIT
    assert set(batch.__all__) <= BATCH.keys() | UNFIT


@pytest.mark.parametrize(
    ("kind", "documented", "names"),
    [
        ("programs", SodaraceEnv, {*UNFIT, *BENEATH["programs"], *NEEDS_RENDERING}),
        ("control", SodaraceControlEnv, {*UNFIT, *BENEATH["control"], *NEEDS_RENDERING, "FilterObservation"}),
        (
            "batch",
            SodaraceVectorEnv,
            {*BATCH, *UNFIT} & {*UNFIT, *BENEATH["programs"], "HumanRendering", "RecordVideo"},
        ),
    ],
)
def test_the_docs_name_every_wrapper_that_needs_something(kind: str, documented: type, names: set[str]) -> None:
    for name in names - ({"AtariPreprocessing"} if kind == "batch" else set()):
        is_documented(name, documented)


def sound(env: Any, observation: Any) -> bool:
    if "Torch" in type(env).__name__:
        import torch

        parts = observation.values() if isinstance(observation, dict) else [observation]
        return all(isinstance(part, torch.Tensor) for part in parts)
    return observation in env.observation_space


def drive(env: Any, seed: int = 3) -> list[float]:
    """Steps through an environment, over several episodes, checks what comes out, and returns the rewards."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    assert sound(env, observation)
    rewards = []
    for _ in range(STEPS):
        action = env.action_space.sample()
        if "Torch" in type(env).__name__:
            import torch

            action = torch.as_tensor(action)
        observation, reward, terminated, truncated, info = env.step(action)
        assert sound(env, observation)
        assert np.isfinite(reward)
        assert info.get("error") is None, info["error_message"]  # programs arrive as they were sent
        assert info.get("fault") is None
        rewards.append(float(reward))
        if env.render_mode is not None:
            env.render()
        if (terminated or truncated) and not isinstance(env, single.Autoreset):
            env.reset()
    return rewards


@pytest.mark.parametrize(
    "name", sorted((SINGLE.keys() & set(single.__all__)) - LACKING)
)  # an older Gymnasium has fewer
@pytest.mark.parametrize("kind", IDS)
def test_wrappers_of_single_environments(kind: str, name: str) -> None:
    if without_opencv("single", name):
        pytest.skip("needs opencv")
    render_mode = "rgb_array" if name in NEEDS_RENDERING else None

    def made() -> Any:
        return gym.make(IDS[kind], duration=DURATION, render_mode=render_mode)

    beneath = BENEATH[kind].get(name)
    if (kind, name) in NO_FIT or (beneath is not None and beneath is not numeric):
        with pytest.raises((TypeError, ValueError)):
            SINGLE[name](made())  # or the docs ask for too much
    if (kind, name) in NO_FIT:
        return
    with no_warnings():
        inner = made() if beneath is None else beneath(made())
        env = SINGLE[name](inner)
        rewards = drive(env)
        env.close()
        env.close()
        if name not in CHANGES_REWARDS:
            plain = made() if beneath is None else beneath(made())
            assert rewards == drive(plain)
            plain.close()
        if name != "RecordVideo":  # which warns of the films that are there
            gym.make(env.spec).close()  # wrapped in the same way


@pytest.mark.parametrize("render_mode", ["rgb_array", "rgb_array_list"])
@pytest.mark.parametrize("name", ["HumanRendering", "RecordVideo"])
def test_lists_of_frames_do_too_and_words_that_are_being_written(name: str, render_mode: str) -> None:
    with no_warnings():
        for inner in (same, lambda env: SequentialActions(env, 3)):
            env = SINGLE[name](inner(gym.make(IDS["programs"], duration=DURATION, render_mode=render_mode)))
            for seed in range(3):
                _, info = env.reset(seed=seed)
                terminated = False
                while not terminated:
                    action = env.action_space.sample(mask=info.get("action_mask"))
                    _, _, terminated, _, info = env.step(action)
            env.close()


def drive_batch(envs: Any, mode: AutoresetMode) -> list[list[float]]:
    """Steps through a vector environment as its autoreset mode asks for, and checks what comes out."""
    envs.action_space.seed(3)
    observations, infos = envs.reset(seed=3)
    assert sound(envs, observations)
    rewards = []
    for _ in range(STEPS):
        actions = envs.action_space.sample()
        if "Torch" in type(envs).__name__:
            import torch

            actions = torch.as_tensor(actions)
        observations, reward, terminated, truncated, infos = envs.step(actions)
        assert sound(envs, observations)
        rewards.append([float(one) for one in reward])
        for info in infos if isinstance(infos, list) else [infos]:
            for failure in ("error", "fault"):
                assert not any(np.atleast_1d(info.get(failure, None))), info
        over = np.asarray(terminated) | np.asarray(truncated)
        if mode == AutoresetMode.DISABLED and over.any():
            envs.reset(options={"reset_mask": over})
    return rewards


OBSERVES = {name for name in BATCH if name.endswith("Observation")}
REFUSED = {
    AutoresetMode.SAME_STEP: {*OBSERVES, "ArrayConversion", "NumpyToTorch"},
    AutoresetMode.DISABLED: {"NormalizeObservation"},
}
COMBINATIONS = [
    ("programs", "vector_entry_point"),
    *((kind, mode) for mode in ("sync", "async") for kind in IDS),
]


def made_batch(kind: str, vectorization: str, mode: AutoresetMode, *beneath: Wrap) -> Any:
    arguments: dict[str, Any] = {"num_envs": 2, "duration": DURATION, "render_mode": "rgb_array"}
    if vectorization == "vector_entry_point":
        arguments |= {"autoreset_mode": mode}
    else:
        arguments |= {"vector_kwargs": {"autoreset_mode": mode}, "wrappers": beneath}
    return gym.make_vec(IDS[kind], vectorization_mode=vectorization, **arguments)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize(("kind", "vectorization"), COMBINATIONS)
def test_wrappers_of_vector_environments(kind: str, vectorization: str, mode: AutoresetMode) -> None:
    """One environment for many wrappers, one after the other: to make an asynchronous one takes long."""
    native = vectorization == "vector_entry_point"
    needing: dict[Any, list[str]] = {}  # names by what single environments need beneath
    for name in sorted((BATCH.keys() & set(batch.__all__)) - LACKING):
        needed = BENEATH[kind].get(name)
        needing.setdefault(None if needed is flat else needed, []).append(name)
    for needed, names in needing.items():
        if native and needed is not None:
            continue  # the docs say that they need environments that are stepped one by one
        with no_warnings():
            envs = made_batch(kind, vectorization, mode, *([] if needed is None else [needed]))
            expected = drive_batch(envs, mode)
            for name in names:
                if (kind, name) in NO_FIT or without_opencv("batch", name):
                    continue
                inner = envs
                try:
                    if name in REFUSED.get(mode, set()):
                        with pytest.raises((BufferError, TypeError, ValueError)):  # or the docs ask for too much
                            drive_batch(BATCH[name](inner), mode)
                        continue
                    if BENEATH[kind].get(name) is flat:
                        inner = batch.FlattenObservation(envs)
                    wrapped = BATCH[name](inner)
                    rewards = drive_batch(wrapped, mode)
                    if name == "RecordVideo" and wrapped.recording:
                        wrapped.stop_recording()
                    assert name in CHANGES_REWARDS or rewards == expected
                except BaseException as error:
                    error.add_note(f"with the wrapper {name}")
                    raise
            envs.close()
            if needed is not None:
                continue
            again = gym.make_vec(envs.spec)
            assert type(again) is type(envs)
            assert again.metadata["autoreset_mode"] is mode
            again.close()
