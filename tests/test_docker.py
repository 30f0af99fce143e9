"""The scripts that build and run the container, with a stub in the engine's place that records what it was given."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conftest import REPOSITORY

SCRIPTS = ("docker-build.sh", "docker-run.sh", "docker-engine.sh", "environment.sh")
RECORD = """\
#!/bin/sh
if [ "$1" = --version ]; then
  echo "${0##*/} version 5.0"
  exit
fi
{ for word in "$0" "$@"; do printf '%s\\0' "$word"; done; } > "$RECORD"
env > "$RECORD.env"
exit "${STUB_CODE:-0}"
"""


class Call(NamedTuple):
    """How a script ended, and what the engine was given (nothing if it was not called)."""

    code: int
    out: str
    err: str
    words: list[str]
    env: str

    def of(self, option: str) -> list[str]:
        return [after for word, after in zip(self.words, self.words[1:], strict=False) if word == option]

    @property
    def mounts(self) -> dict[str, str]:
        """Sources by target; `:ro` behind those that are read-only."""
        found = {}
        for mount in self.of("--mount"):
            fields = re.match(r'type=bind,("source=((?:[^"]|"")*)"|source=([^,]*)),target=([^,]*)(,readonly)?$', mount)
            assert fields, mount
            source = fields[3] if fields[2] is None else fields[2].replace('""', '"')
            found[fields[4]] = source + (":ro" if fields[5] else "")
        return found


class Host:
    """A machine with some programs, and a clone of the repository in a folder of our choice."""

    def __init__(self, folder: Path, clone: str = "palitune") -> None:
        self.folder, self.clone, self.programs = folder, folder / clone, folder / "programs"
        (self.clone / "bin").mkdir(parents=True)
        self.programs.mkdir()
        for name in SCRIPTS:
            shutil.copy(REPOSITORY / "bin" / name, self.clone / "bin")
        for name in ("cache", "checkpoints", "playground"):
            (self.clone / name).mkdir()
        for name in ("sh", "env", "sed", "grep", "sort", "dirname", "id", "cat", "printf"):
            found = shutil.which(name)
            if found:
                (self.programs / name).symlink_to(found)

    def program(self, name: str, text: str = RECORD) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def __call__(self, script: str, *arguments: str, **variables: str) -> Call:
        record = self.folder / "record"
        env = {"PATH": str(self.programs), "HOME": str(self.folder / "home"), "RECORD": str(record), "USER": "somebody"}
        done = subprocess.run(
            [str(self.clone / "bin" / script), *arguments],
            cwd=self.folder,
            env=env | variables,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        words = record.read_text().split("\0")[:-1] if record.exists() else []
        env_seen = Path(f"{record}.env").read_text() if record.exists() else ""
        record.unlink(missing_ok=True)
        return Call(done.returncode, done.stdout, done.stderr, words, env_seen)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.program("docker")
    return host


def test_a_stage(host: Host) -> None:
    call = host("docker-run.sh", "./03-do_learn.py", "-d", "set 1", "--prompt", 'it\'s $HOME, "x"?')
    assert call.code == 0, call.err
    assert call.words[1:3] == ["run", "--rm"]
    assert call.words[-5:] == ["./03-do_learn.py", "-d", "set 1", "--prompt", 'it\'s $HOME, "x"?']
    assert call.words[-6] == "palitune"
    assert {"--init", "--read-only", "-i"} <= set(call.words)
    assert "-it" not in call.words, "there is no terminal"
    assert call.of("--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert {"HOME=/tmp/home", "USER=somebody"} <= set(call.of("--env"))
    assert call.of("--shm-size") == ["1g"]
    assert int(call.of("--stop-timeout")[0]) >= 120, "longer than a save"
    assert call.mounts == {
        f"/palitune/{part}": str(host.clone / part) for part in ("cache", "checkpoints", "playground")
    }


@pytest.mark.parametrize("code", [0, 1, 66, 75, 130])
def test_its_exit_code(code: int, host: Host) -> None:
    assert host("docker-run.sh", "./04-validate.py", STUB_CODE=str(code)).code == code


def test_without_a_command_it_is_a_shell(host: Host) -> None:
    assert host("docker-run.sh").words[-2:] == ["palitune", "bash"]


@pytest.mark.parametrize("name", ["with blanks in it", "comma, comma", 'quo"te', "it's", "dollar$HOME", "日本語"])
def test_folders_of_any_name(name: str, tmp_path: Path) -> None:
    host = Host(tmp_path, name)
    host.program("docker")
    call = host("docker-run.sh", "true")
    assert call.mounts["/palitune/cache"] == str(host.clone / "cache")
    printed = host("docker-run.sh", "--dry-run", "true")
    assert shlex.split(printed.out)[1:] == call.words[1:], "what --dry-run prints is what would be run"
    assert printed.words == []


def test_dry_runs_run_nothing(host: Host) -> None:
    for script in ("docker-run.sh", "docker-build.sh"):
        call = host(script, "--dry-run")
        assert call.code == 0
        assert call.out.startswith("docker ")
        assert call.words == []


def test_memory_settings_go_through_and_secrets_by_name_only(host: Host) -> None:
    variables = {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9",
        "JAX_PLATFORMS": "cpu",
        "TF_GPU_ALLOCATOR": "cuda_malloc_async",
        "CUDA_VISIBLE_DEVICES": "0",
        "KAGGLE_KEY": "planted",
        "KAGGLE_API_TOKEN": "planted\nKAGGLE_FAKE",
        "https_proxy": "http://proxy:3128",
        "NO_COLOR": "1",
        "PALITUNE_SHM": "64m",
        "PALITUNE_GRACE": "9",
        "HF_TOKEN": "planted",
        "HF_ENDPOINT": "http://mirror",
        "HF_HOME": "/home/somebody/hf",
        "AWS_SECRET_ACCESS_KEY": "planted",
    }
    call = host("docker-run.sh", "true", **variables)
    passed = set(call.of("--env"))
    assert set(variables) - passed == {"PALITUNE_SHM", "PALITUNE_GRACE", "HF_HOME", "AWS_SECRET_ACCESS_KEY"}
    assert "planted" not in " ".join(call.words)
    assert "planted" not in host("docker-run.sh", "--dry-run", **variables).out
    for name in ("KAGGLE_KEY", "HF_TOKEN"):
        assert f"{name}=planted" in call.env, "the engine has it from its own environment"
    assert call.of("--shm-size") == ["64m"]
    assert call.of("--stop-timeout") == ["9"]


def test_credentials_are_mounted_read_only(host: Host) -> None:
    folder = host.folder / "home" / ".kaggle"
    folder.mkdir(parents=True)
    assert host("docker-run.sh", "true").mounts["/kaggle"] == f"{folder}:ro"
    other = host.folder / "other place"
    other.mkdir()
    call = host("docker-run.sh", "true", KAGGLE_CONFIG_DIR=str(other))
    assert call.mounts["/kaggle"] == f"{other}:ro"
    assert "KAGGLE_CONFIG_DIR" not in call.of("--env"), "inside it is another folder, which the image names"


def test_the_card(host: Host) -> None:
    assert "--gpus" not in host("docker-run.sh", "true").words
    host.program("nvidia-smi", "#!/bin/sh\nexit 9\n")
    assert "--gpus" not in host("docker-run.sh", "true").words
    host.program("nvidia-smi", "#!/bin/sh\necho 'GPU 0: NVIDIA GeForce RTX 4070'\n")
    assert host("docker-run.sh", "true").of("--gpus") == ["all"]
    assert "--gpus" not in host("docker-run.sh", "--cpu", "true").words


def test_podman(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.program("podman")
    host.program("nvidia-smi", "#!/bin/sh\n")
    call = host("docker-run.sh", "true", SUDO_UID="1234", SUDO_GID="1235")
    assert call.words[0].endswith("podman")
    assert call.of("--userns") == ["keep-id"]
    assert call.of("--user") == ["1234:1235"], "behind sudo files belong to who called it"
    assert call.of("--device") == ["nvidia.com/gpu=all"]
    assert "--gpus" not in call.words


def test_docker_comes_first_unless_another_is_named(host: Host) -> None:
    host.program("podman")
    assert host("docker-run.sh", "true").words[0].endswith("docker")
    assert host("docker-run.sh", "true", PALITUNE_ENGINE="podman", PALITUNE_IMAGE="mine:2").words[-2:] == [
        "mine:2",
        "true",
    ]


@pytest.mark.parametrize("ids", [{"SUDO_UID": "abc def"}, {"SUDO_UID": "1"}, {"SUDO_GID": "1"}])
def test_half_of_sudo_is_none(ids: dict[str, str], host: Host) -> None:
    assert host("docker-run.sh", "true", **ids).of("--user") == [f"{os.getuid()}:{os.getgid()}"]


def test_surroundings_that_mislead(host: Host) -> None:
    """CDPATH makes `cd` print and go elsewhere; a relative folder of credentials is one from here."""
    (host.folder / "keys").mkdir()
    command = [f"{host.clone.name}/bin/docker-run.sh", "--dry-run", "true"]
    env = {"PATH": str(host.programs), "CDPATH": f"/usr:{host.folder}", "KAGGLE_CONFIG_DIR": "keys"}
    done = subprocess.run(command, cwd=host.folder, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert f"source={host.clone}/cache,target=/palitune/cache" in done.stdout
    assert f"source={host.folder}/keys,target=/kaggle,readonly" in done.stdout


def test_msys(tmp_path: Path) -> None:
    """MSYS2 and Git for Windows: Windows paths for the engine, and nothing rewritten on the way."""
    host = Host(tmp_path, "my clone")
    host.program("docker")
    host.program("winpty")
    host.program("cygpath", '#!/bin/sh\n[ "$1" = -m ] && printf "C:/msys64%s\\n" "$2"\n')
    call = host("docker-run.sh", "./04-validate.py", "-m", "/palitune/checkpoints/x.npz", MSYSTEM="MINGW64")
    assert call.mounts["/palitune/checkpoints"] == f"C:/msys64{host.clone}/checkpoints"
    assert call.words[-1] == "/palitune/checkpoints/x.npz"
    assert "MSYS_NO_PATHCONV=1" in call.env
    assert "MSYS2_ARG_CONV_EXCL=*" in call.env
    assert call.words[0].endswith("docker"), "winpty is for terminals"
    build = host("docker-build.sh", MSYSTEM="MINGW64")
    assert build.words[-1] == f"C:/msys64{host.clone}"


def in_a_terminal(host: Host, script: str, *arguments: str, **variables: str) -> list[str]:
    """What the engine is given where stdin and stdout are a terminal."""
    main, other = os.openpty()
    record = host.folder / "record"
    env = {"PATH": str(host.programs), "HOME": str(host.folder), "RECORD": str(record)} | variables
    command = [str(host.clone / "bin" / script), *arguments]
    subprocess.run(command, env=env, stdin=other, stdout=other, stderr=other, check=True)
    os.close(main)
    os.close(other)
    return record.read_text().split("\0")[:-1]


def test_terminals(host: Host) -> None:
    assert "-it" in in_a_terminal(host, "docker-run.sh", "bash")
    host.program("cygpath", '#!/bin/sh\nprintf "C:%s\\n" "$2"\n')
    host.program("winpty")
    words = in_a_terminal(host, "docker-run.sh", "bash", MSYSTEM="MINGW64")
    assert words[0].endswith("winpty")
    assert words[1:3] == ["docker", "run"]


def test_builds(host: Host) -> None:
    words = host("docker-build.sh").words[1:]
    assert words == ["build", "--tag", "palitune", "--build-arg", "REQUIREMENTS=cuda12", str(host.clone)]
    call = host("docker-build.sh", "--build-arg", "BASE_IMAGE=my base", "--cpu", "--no-cache", PALITUNE_IMAGE="p:1")
    assert call.of("--build-arg") == ["REQUIREMENTS=cpu", "BASE_IMAGE=my base"]
    assert "--no-cache" in call.words
    assert call.of("--tag") == ["p:1"]
    assert host("docker-build.sh", STUB_CODE="3").code == 3


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        (["docker-run.sh", "--gpus", "all"], {}, 2, "unknown option --gpus. See"),
        (["docker-run.sh", "true"], {"PALITUNE_ENGINE": "nerdctl"}, 78, "no nerdctl here"),
    ],
)
def test_mistakes(arguments: list[str], variables: dict[str, str], code: int, words: str, host: Host) -> None:
    call = host(*arguments, **variables)
    assert call.code == code
    assert words in call.err
    assert call.err.count("\n") == 1
    assert call.words == []


def test_no_engine(tmp_path: Path) -> None:
    call = Host(tmp_path)("docker-run.sh", "true")
    assert call.code == 78
    assert "no docker or podman here" in call.err


@pytest.mark.parametrize("script", ["docker-run.sh", "docker-build.sh"])
def test_help(script: str, host: Host) -> None:
    call = host(script, "--help")
    assert call.code == 0
    assert f"bin/{script}" in call.out
    assert "#" not in call.out
    assert call.words == []


def test_the_entry_point(tmp_path: Path) -> None:
    script = REPOSITORY / "bin" / "docker-entrypoint.sh"
    words = ["sh", "-c", 'echo "$HOME,$USER,$1"; exit 7', "sh", "a b"]
    env = {"PATH": os.environ["PATH"], "HOME": "/proc"}
    done = subprocess.run([script, *words], env=env, capture_output=True, text=True, check=False)
    home, user, argument = done.stdout.strip().split(",")
    assert done.returncode == 7
    assert os.access(home, os.W_OK)
    assert (user, argument) == ("palitune", "a b")
    env |= {"HOME": str(tmp_path), "USER": "me"}
    assert subprocess.run([script, *words], env=env, capture_output=True, text=True).stdout == f"{tmp_path},me,a b\n"


# What the files say.


def test_shellcheck() -> None:
    scripts = [path for folder in ("bin", "tests", "playground", "bench") for path in REPOSITORY.glob(f"{folder}/*.sh")]
    assert len(scripts) >= 8
    command = ["shellcheck", "-x", *map(str, scripts), str(REPOSITORY / ".ci" / "run")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_hadolint() -> None:
    done = subprocess.run(["hadolint", str(REPOSITORY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    assert json.loads(next(line for line in lines if line.startswith("ENTRYPOINT")).removeprefix("ENTRYPOINT"))
    assert "--require-hashes" in text
    assert "BASE_IMAGE" in text
    # Only what the ignore file lets through is copied.
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    assert {name.split("/")[0] for line in copied for name in line.split()} == allowed
    assert (REPOSITORY / ".dockerignore").read_text().splitlines()[1] == "*"


@pytest.mark.parametrize("kind", ["cpu", "cuda12", "cuda13", "dev"])
def test_locked_requirements(kind: str) -> None:
    text = (REPOSITORY / "requirements" / f"{kind}.txt").read_text()
    assert "://" not in text, "versions and hashes, no addresses"
    entries = re.findall(
        r"^([A-Za-z0-9_.-]+)==(\S+).*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n?)+)", text, re.MULTILINE
    )
    assert len(entries) == sum(not line.startswith((" ", "#")) for line in text.splitlines())
    names = {name.lower() for name, _, _ in entries}
    project = (REPOSITORY / "pyproject.toml").read_text()
    wanted = re.findall(
        r'^  "([A-Za-z0-9_-]+)>=', project.partition("dependencies = [")[2].partition("]")[0], re.MULTILINE
    )
    assert {name.lower().replace("_", "-") for name in wanted} <= names
    assert any(name.startswith("jax-cuda") for name in names) == kind.startswith("cuda")
    assert ("pytest" in names) == (kind == "dev")


def test_compose_does_what_the_script_does(host: Host) -> None:
    service = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]["palitune"]
    (host.folder / "home" / ".kaggle").mkdir(parents=True)
    call = host("docker-run.sh", "true")
    targets = {volume.rpartition(":")[2] for volume in service["volumes"]}
    assert targets | {"/kaggle"} == set(call.mounts)
    assert service["init"] is True
    assert service["read_only"] is True
    assert service["image"] == "palitune"
    assert "HOME=/tmp/home" in set(service["environment"]) & set(call.of("--env"))
    assert service["shm_size"] == call.of("--shm-size")[0]
    container = json.loads((REPOSITORY / ".devcontainer" / "devcontainer.json").read_text())
    assert (REPOSITORY / ".devcontainer" / container["build"]["dockerfile"]).is_file()


def test_scripts_can_be_run() -> None:
    for name in ("docker-build.sh", "docker-run.sh", "docker-entrypoint.sh", "install-big_vision.sh"):
        assert (REPOSITORY / "bin" / name).stat().st_mode & stat.S_IXUSR, name
