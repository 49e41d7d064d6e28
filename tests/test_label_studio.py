"""`jaxal label studio` against a small server of the same answers: rounds, everything that goes wrong, and kills."""

import os
import random
import re
import signal
import subprocess
import threading
import time

import commands
import pytest
from commands import NAMES, call, refused
from fake_label_studio import TOKEN, served
from small import arrays, jaxal_command

import jaxal
from jaxal.data import files, store
from jaxal.labeling import studio as studios
from jaxal.labeling.create import create
from jaxal.labeling.label_studio import KEY, LabelStudio
from jaxal.labeling.project import Project

cache, here, world = commands.cache, commands.here, commands.world  # fixtures
Y = arrays()[1]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv(KEY, TOKEN)
    with served() as server:
        yield server


@pytest.fixture
def project(here):
    return create(here / "p", jaxal.load("toy"), batch_size=6, strategy="margin", cold_start="random")


def truth(task, y=Y):
    return NAMES[y[task["data"]["row"]]]


@pytest.fixture
def studio(project, server):
    with project.locked():
        yield studios.connect(project, LabelStudio(server.url), None, create=True)


def answer_all(server, project=1, **more):
    """Every open task in the order in which it is served; returns the rows."""
    rows = []
    while (task := server.next(project)) is not None:
        server.annotate(task["id"], truth(task), **more)
        rows.append(task["data"]["row"])
    return rows


def fetch_again(studio):
    """Look at all tasks, as every half minute: edits change no count."""
    notes = []
    studio._counts = []
    studio.sync(notes.append)
    return notes


# ---- rounds


def test_rounds_are_those_of_a_run(here, project, server, monkeypatch):
    """The command itself: three rounds, answered as they come, in pick order; the picks are those of `jaxal run`."""
    given = []
    monkeypatch.setattr(studios.time, "sleep", lambda _: given.extend(answer_all(server)))
    result = call("label", "studio", "p", "--url", server.url, "--create", "--open", 0, "--rounds", 3)
    assert result.exit_code == 0, result.output
    assert "round 3 is answered" in result.stdout
    assert "suggestions that were right, by round from 2 on:" in result.stdout
    rounds = result.stdout.split("is answered")
    assert "last batch " not in rounds[1], "there was no classifier before the first batch"
    assert "last batch " in rounds[2]
    assert "12 rows labeled, 3 batches chosen; 6 wait" in rounds[2], "the next batch is there before the report is"
    assert re.search(r"^accuracy  .* on the 60 rows of the test split", rounds[3], re.MULTILINE)
    labels = Project.open("p").labels()
    expected = jaxal.run(jaxal.load("toy"), "margin", seeds=[0], cycles=2, batch_size=6, initial_size=6,
                         warm_start=False)  # fmt: skip
    assert given == labels["row"].tolist() == expected.tables.picks["row"].tolist()
    assert labels["label"].tolist() == [NAMES[Y[row]] for row in labels["row"]]
    assert set(labels["annotator"]) == {"label-studio:1"}
    assert set(labels["seconds"]) == {1.5}
    assert server.projects[1]["sampling"] == "Sequential sampling"
    assert server.projects[1]["model_version"] == "jaxal-3"
    task = max(server.tasks.values(), key=lambda task: task["id"])
    assert task["data"]["text"] == f'text {task["data"]["row"]}, "quoted"\nand more\r!'
    assert task["data"]["id"] == f"id-{task['data']['row']}"
    assert task["predictions"][0]["score"] == 5 / 6
    assert task["predictions"][0]["result"][0]["value"]["choices"][0] in NAMES
    again = call("label", "studio", "p", "--open", 0, "--rounds", 3)
    assert "project 1 of" in again.stderr, "it is remembered where the tasks are"
    assert len(server.tasks) == 18


def test_the_next_batch_comes_while_few_are_open(studio, server):
    studio.next_round()
    waits = []

    def sleep(_):
        waits.append(len(studio.project.waiting()))
        if len(waits) == 20:
            raise KeyboardInterrupt
        task = server.next(1)
        server.annotate(task["id"], truth(task))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studios.time, "sleep", sleep)
        with pytest.raises(KeyboardInterrupt):
            studios.loop(studio, every=1, most_open=2, most_rounds=None, tell=pytest.fail, report=lambda _: None)
    assert waits[:9] == [6, 5, 4, 3, 8, 7, 6, 5, 4]
    rows = [task["data"]["row"] for task in server.tasks.values()]
    assert len(rows) == len(set(rows))


def test_the_pool_ends(here, server):
    project = create(here / "all", jaxal.load("toy"), batch_size=59, strategy="random")
    with project.locked(), pytest.MonkeyPatch.context() as patch:
        studio = studios.connect(project, LabelStudio(server.url), None, create=True)
        patch.setattr(studios.time, "sleep", lambda _: answer_all(server))
        studios.loop(studio, every=1, most_open=5, most_rounds=None, tell=pytest.fail, report=lambda _: None)
    assert len(project.labels()) == 120
    assert project.waiting() == []


# ---- what annotators do


def test_skipped_edited_deleted_and_several_annotators(studio, server):
    studio.next_round()
    project, (a, b, c, d, e, f) = studio.project, server.tasks.values()
    first = server.annotate(a["id"], "no")
    server.annotate(b["id"], None)
    server.annotate(c["id"], "yes", by=1)
    server.annotate(c["id"], "no", by=2)
    server.annotate(c["id"], "yes", by=3)
    taken_back = server.annotate(d["id"], "no")
    server.annotate(e["id"], "no")
    del server.tasks[f["id"]]
    assert studio.sync(pytest.fail) == 1
    rows = [task["data"]["row"] for task in (a, b, c, d, e, f)]
    label = lambda: {row: project.words[row].label for row in rows if row in project.words}  # noqa: E731
    assert label() == dict(zip(rows, ["no", None, "yes", "no", "no"], strict=False))
    assert project.skipped() == [rows[1]]
    assert project.waiting() == [rows[5]]
    assert [t["data"]["row"] for t in server.tasks.values()][-1] == rows[5], "what waits is pushed again"
    server.edit(first, "yes")
    d["annotations"].remove(taken_back)
    del server.tasks[e["id"]]
    assert fetch_again(studio) == []
    assert label() == {rows[0]: "yes", rows[1]: None, rows[2]: "yes", rows[4]: "no"}, "a deleted task keeps its label"
    assert project.waiting() == [rows[3], rows[5]]
    lines = len(project.lines)
    assert fetch_again(studio) == []
    assert len(project.lines) == lines, "nothing is said twice"
    assert project.labels().set_index("row").loc[rows[2], "agreement"] == 2 / 3


def test_twins_are_asked_once(studio, server):
    studio.next_round()
    server.import_tasks(1, [{k: task[k] for k in ("data", "predictions")} for task in server.tasks.values()])
    server.annotate(1, "no")
    server.annotate(7, "yes")  # the same row again: both count, the later one last
    server.annotate(8, "maybe")
    assert fetch_again(studio) == ["5 tasks were there twice and not answered: deleted"]
    assert sorted(server.tasks) == [1, 3, 4, 5, 6, 7, 8]
    rows = studio.project.batches()[0].rows.tolist()
    assert [studio.project.words[row].label for row in rows[:2]] == ["yes", "maybe"]
    lines = len(studio.project.lines)
    assert fetch_again(studio) == []
    assert len(studio.project.lines) == lines


def test_what_cannot_be_a_label_is_told_once_and_left_out(studio, server):
    studio.next_round()
    server.annotate(1, "nope")
    server.annotate(2, "no", result=[{"type": "textarea", "value": {"text": ["x"]}}])
    server.annotate(3, "no")
    server.import_tasks(1, [{"data": {"text": "somebody else's"}, "predictions": []}])
    notes = fetch_again(studio)
    assert "task 1 is left out: unknown label 'nope': did you mean no?" in notes
    assert "task 2 is left out: task 2 has an annotation of type textarea, where jaxal needs choices" in notes
    assert f"task {max(server.tasks)} has no row of this pool in its data: it is left alone" in notes
    assert len(notes) == 3
    assert fetch_again(studio) == []
    assert len(studio.project.labels()) == 1


# ---- a server that goes away


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("request_", [("POST", "/api/projects/1/import"), ("GET", "/api/projects/1/export"),
                                      ("PATCH", "/api/projects/1/"), ("GET", "/api/projects/1/")])  # fmt: skip
def test_a_server_that_goes_away(studio, server, request_, when):
    """Whether it did what it was asked or not, everything is there once in the end."""
    notes, served_, looks = [], [], []

    def sleep(_):
        looks.append(len(server.tasks))
        assert len(looks) < 20, "it does not go on at the next look"
        served_.extend(answer_all(server))
        server.fail = [(*request_, when)] if len(served_) == 6 and not notes else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studios.time, "sleep", sleep)
        studios.loop(studio, every=1, most_open=0, most_rounds=3, tell=notes.append, report=lambda _: None)
    assert len(notes) == 2, notes
    assert "nothing is lost, it is asked again until it answers" in notes[0]
    assert notes[1].startswith("the server answers again")
    assert served_ == studio.project.labels()["row"].tolist()
    assert len(server.tasks) == len(set(served_)) == 18


class Killed(BaseException):
    """What a kill is to a loop in this process: nothing of it runs afterwards but the end of its lock."""


def test_a_hundred_kills(here, server, monkeypatch):
    """In any write, half done, any fsync or rename, before or after any request; then the same command again."""
    project = create(here / "p", jaxal.load("toy"), batch_size=6, strategy="random")
    rng, left, asked = random.Random(0), [0], []

    def deadly(real, half):
        def effect(*arguments):
            left[0] -= 1
            if left[0] == 0:
                half(real, *arguments)
                raise Killed
            return real(*arguments)

        return effect

    def sleep(_):
        task = server.next(1)
        if task is not None:
            asked.append(task["data"]["row"])
            server.annotate(task["id"], truth(task))

    monkeypatch.setattr(studios.time, "sleep", sleep)
    half_written = lambda real, file, data: real(file, bytes(data)[: len(data) // 2])  # noqa: E731
    monkeypatch.setattr(files, "_write", deadly(files._write, half_written))
    for owner, name in ((files, "_fsync"), (files, "_rename"), (LabelStudio, "_send")):
        maybe_done = lambda real, *arguments: rng.random() < 0.5 and real(*arguments)  # noqa: E731
        monkeypatch.setattr(owner, name, deadly(getattr(owner, name), maybe_done))

    def live():
        with project.locked():
            connected = studios.connect(project, LabelStudio(server.url), None, create=True)
            studios.loop(connected, every=0, most_open=2, most_rounds=None, tell=pytest.fail, report=lambda _: None)

    for _ in range(100):
        left[0] = 1 + int(rng.expovariate(1 / 6))
        with pytest.raises(Killed):
            live()
    left[0] = 10**9
    in_the_end(project, server, asked)


def in_the_end(project, server, asked, y=Y):
    """Everything that was chosen is on the server once, and everything that was answered in the log once."""
    with project.locked():
        studios.connect(project, LabelStudio(server.url), None, create=True).sync(pytest.fail)
        rows = [task["data"]["row"] for task in server.tasks.values()]
        assert len(server.projects) == 1
        assert len(rows) == len(set(rows)), "a task was pushed twice"
        assert sorted(rows) == sorted(project.rounds)
        assert {row: word.label for row, word in project.words.items()} == {row: NAMES[y[row]] for row in asked}
        assert len(project.lines) == len(asked) == len(set(asked))
        assert len(asked) > 6


@pytest.mark.parametrize("kills", [int(os.environ.get("JAXAL_KILLS", "2"))])
def test_killed_at_any_moment(here, server, cache, kills):
    """An annotator answers without a pause while the loop is killed again and again; the pool lasts for all kills."""
    X, y, *_ = arrays(n=max(120, 40 * kills))
    about = {"class_names": NAMES, "settings": {}, "texts": [f"text {row}" for row in range(len(X))]}
    path = store.write_arrays(here / "large" / "made", X, y, dataset="large", model="made", **about)
    project = create(here / "p", jaxal.load(path), batch_size=6, strategy="margin", cold_start="random")
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = jaxal_command("label", "studio", "p", "--url", server.url, "--create", "--every", "0", "--open", "2")
    given, end, rng = {}, threading.Event(), random.Random(0)

    def annotator():
        while not end.is_set():
            with server.lock:
                task = server.next(1)
                if task is not None:
                    server.annotate(task["id"], truth(task, y))
                    assert given.setdefault(task["data"]["row"], task["id"]) == task["id"], "asked twice"
            time.sleep(0.1)

    with project.locked():
        studios.connect(project, LabelStudio(server.url), None, create=True).next_round()
    thread = threading.Thread(target=annotator)
    thread.start()
    try:
        for _ in range(kills):
            asked = len(server.asked)
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            requests, last = rng.randint(1, 20), time.monotonic() + 20  # most of the time it starts
            while len(server.asked) < asked + requests and time.monotonic() < last:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
            assert process.wait() == -signal.SIGKILL
    finally:
        end.set()
        thread.join()
    in_the_end(project, server, list(given), y)


def test_ctrl_c(here, project, server, cache):
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = jaxal_command("label", "studio", "p", "--url", server.url, "--create")
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while len(server.tasks) < 6 and time.monotonic() < end:
        time.sleep(0.05)
    busy = refused("label", "next", "p")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Interrupted: the same command goes on where it stopped."
    assert "Traceback" not in err
    assert "another process is working on p" in busy
    assert call("label", "next", "p").exit_code == 0


# ---- mistakes


def test_bad_tokens_and_servers_are_one_line(here, project, server, monkeypatch):
    studio = ["label", "studio", "p", "--url", server.url, "--create"]
    monkeypatch.setenv(KEY, "wrong")
    assert f"refuses the token in {KEY}: Invalid token." in refused(*studio)
    monkeypatch.setenv(KEY, "a.b.wrong")
    assert f"refuses the token in {KEY}: Token is invalid" in refused(*studio)
    monkeypatch.delenv(KEY)
    assert f"set {KEY} to your access token" in refused(*studio)
    monkeypatch.setenv(KEY, TOKEN)
    assert "name the server with --url" in refused("label", "studio", "p")
    assert "is no address of a server" in refused("label", "studio", "p", "--url", "localhost:8080")
    assert "does not answer" in refused("label", "studio", "p", "--url", "http://127.0.0.1:9", "--create")
    assert "name the project of Label Studio with --project" in refused("label", "studio", "p", "--url", server.url)
    assert "has no /api/projects/7/" in refused("label", "studio", "p", "--url", server.url, "--project", 7)
    assert "--every and --open must not be negative" in refused(*studio, "--every", "-1")
    assert server.projects == {}


def test_a_personal_access_token(here, project, server, monkeypatch):
    monkeypatch.setenv(KEY, "a.b.c")
    with project.locked():
        assert studios.connect(project, LabelStudio(server.url), None, create=True).number == 1


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (NAMES, {"kind": "Labels"}, "asks for Labels: jaxal needs one Choices"),
        (NAMES, {"value": "image"}, "shows image: jaxal pushes the text as $text"),
        (NAMES[:2], {}, "lacks the label yes, a class of p"),
        ([*NAMES, "other"], {}, "unknown label 'other'"),
    ],
)
def test_a_project_of_another_kind_is_one_line(here, project, server, labels, more, message):
    server.project(labels, **more)
    assert message in refused("label", "studio", "p", "--url", server.url, "--project", 1)
    assert not (project.folder / studios.NAME).exists()
