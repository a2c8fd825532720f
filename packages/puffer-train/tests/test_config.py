"""Settings: precedence, types, and errors that say what there is."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest

from puffer.core.errors import UsageError
from puffer.train.config import Config, PolicyConfig, TrainConfig, VecConfig, resolve, to_toml
from puffer.train.options import parse, peek


def write(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def test_precedence(match_spec, tmp_path):
    path = write(tmp_path, "[train]\nhorizon = 4\nlearning_rate = 1\n[env]\nlength = 3\n")
    config, origins = resolve(match_spec, path)
    assert config.train.minibatch_size == 256  # the environment's
    assert config.train.horizon == 4  # the file's
    assert config.train.learning_rate == 1.0
    assert isinstance(config.train.learning_rate, float)
    _, config, given = parse(["--train.horizon", "2", "--env.num_envs=5"], match_spec, config)
    assert (config.train.horizon, config.env["length"], config.env["num_envs"]) == (2, 3, 5)
    assert given == {("train", "horizon"), ("env", "num_envs")}
    assert origins["train"]["gamma"] == "default"
    assert origins["train"]["minibatch_size"] == "test/match's settings"
    assert origins["train"]["horizon"] == str(path)


def test_toml_round_trip(match_spec, tmp_path):
    config, origins = resolve(match_spec)
    train = dataclasses.replace(config.train, data_dir='a "quoted" \\ path', target_kl=0.1)
    config = dataclasses.replace(config, train=train)
    path = write(tmp_path, to_toml(config.tables(), origins))
    assert resolve(match_spec, path)[0] == config
    assert "target_kl" in tomllib.loads(path.read_text())["train"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[train]\nhorizn = 4", r"unknown key train\.horizn: did you mean horizon"),
        ("[env]\nlenght = 4", r"unknown key env\.lenght: did you mean length"),
        ("[trian]\nhorizon = 4", r"unknown table \[trian\]: there is train, vec, policy, env"),
        ("[train]\nhorizon = 'x'", r"train\.horizon = 'x': expected int, got str"),
        ("[train]\nhorizon = 1.5", r"train\.horizon = 1\.5: expected int, got float"),
        ("[train]\nnorm_advantages = 1", r"expected bool, got int"),
        ("[train]\ntarget_kl = 'x'", r"expected float, got str"),
        ("[train]\nlr_schedule = 'x'", r"expected one of 'cosine', 'linear', 'constant'"),
        ("[env]\nlength = true", r"env\.length = True: expected int, got bool"),
        ("train = ", "is not a TOML file"),
    ],
)
def test_wrong_files(match_spec, tmp_path, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        resolve(match_spec, write(tmp_path, text))


def test_a_file_that_is_not_there(match_spec, tmp_path):
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read \(No such file"):
        resolve(match_spec, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("cls", "values", "sentence"),
    [
        (
            TrainConfig,
            {"learning_rate": -1.0},
            r"train\.learning_rate=-1\.0: expected a number > 0",
        ),
        (TrainConfig, {"learning_rate": float("nan")}, r"expected a number > 0"),
        (TrainConfig, {"gamma": 1.01}, r"train\.gamma=1\.01: expected a number from 0 to 1"),
        (TrainConfig, {"target_kl": 0.0}, r"train\.target_kl=0\.0: expected none or a number > 0"),
        (TrainConfig, {"ent_coef": -0.1}, r"train\.ent_coef=-0\.1: expected a number >= 0"),
        (VecConfig, {"num_envs": 0}, r"vec\.num_envs=0: expected a number > 0"),
        (VecConfig, {"num_workers": 0}, r"vec\.num_workers=0: expected none or a number > 0"),
        (PolicyConfig, {"hidden_size": 0}, r"policy\.hidden_size=0: expected a number > 0"),
    ],
)
def test_values_out_of_range(cls, values, sentence):
    with pytest.raises(UsageError, match=sentence):
        cls(**values)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--train.lerning-rate", "1"], r"unknown option --train\.lerning-rate: did you mean"),
        (["--train.horizon", "many"], r"--train\.horizon: invalid literal for int"),
        (["--train.learning-rate", "-1"], r"train\.learning_rate=-1\.0: expected a number > 0"),
        (["--vec", "warp"], r"invalid choice 'warp' for argument '--vec\.backend'"),
        (["--env.lenght", "3"], r"unknown option --env\.lenght: did you mean --env\.length"),
        (["stray"], r"stray"),
    ],
)
def test_wrong_flags(match_spec, argv, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        parse(argv, match_spec, resolve(match_spec)[0])
    assert "\n" not in str(caught.value)
    assert "│" not in str(caught.value)


def test_both_spellings_and_short_forms(match_spec):
    defaults = resolve(match_spec)[0]
    argv = ["--env", "test/match", "--vec", "serial", "--policy=module:Class", "--train.target_kl",
            "0.5", "--train.no-norm-advantages", "--env.kind", "box"]  # fmt: skip
    run, config, _ = parse(argv, match_spec, defaults)
    assert run.env_name == "test/match"
    assert (config.vec.backend, config.policy.name) == ("serial", "module:Class")
    assert config.train.target_kl == 0.5
    assert config.train.norm_advantages is False
    assert config.env["kind"] == "box"


def test_help_shows_the_environments_own_options(match_spec, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--help"], match_spec, resolve(match_spec)[0])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--env.delay" in text
    assert "steps to remember" in text
    assert "(default: 20000)" in text  # tuned
    with pytest.raises(SystemExit):
        parse(["--help"], None, Config(""))
    assert "--help --env NAME" in " ".join(capsys.readouterr().out.split())


def test_peek():
    assert peek(["--env", "a", "--env.size", "3"], "--env") == "a"
    assert peek(["--env=b"], "--env") == "b"
    assert peek(["--env", "--list"], "--env") == ""
    assert peek([], "--env") == ""


def test_the_settings_of_every_installed_environment_are_settings():
    from puffer.core import registry

    for name in registry.names():
        config, origins = resolve(registry.find(name))
        assert config.env_name == registry.find(name).name
        assert set(origins["train"]) == {f.name for f in dataclasses.fields(TrainConfig)}
