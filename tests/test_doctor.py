"""`harness doctor`: well on a sound installation, and ill where it is not."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from harness import api, doctor
from harness.cli import app
from harness.core.registry import Library, registry


def part(name, data_dir=None):
    return list(doctor.PARTS[name](data_dir))


def well(lines):
    return {what: fine for what, _, _, fine in lines}


@pytest.fixture
def break_plug(monkeypatch):
    """Put a broken function in the place of a plug's."""

    def put(kind, name, function):
        plug = registry.get(kind, name)
        broken = replace(plug, function=function(plug.function))
        monkeypatch.setitem(registry._plugs, (kind, name), broken)

    return put


@pytest.mark.parametrize("name", ["versions", "closed form", "planted faults", "deviations"])
def test_this_installation_is_well(name):
    lines = part(name)
    assert lines
    assert all(fine is not False for *_, fine in lines), lines


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lockstep", "masked models"])
def test_this_installation_is_well_in_what_takes_longer(name):
    lines = part(name)
    assert all(fine for *_, fine in lines), lines


@pytest.mark.parametrize("concept", ["fgsm", "pgd"])
def test_half_a_step_is_seen_by_the_closed_form(break_plug, concept):
    """Catches a closed form that any attack attains, or that only ours is held against."""

    def halved(attack):
        def broken(model, x, *rest, **params):
            return (x + attack(model, x, *rest, **params)) / 2

        return broken

    break_plug("attack", f"torchattacks/{concept}", halved)
    seen = well(part("closed form"))
    assert [what for what, fine in seen.items() if not fine] == [
        f"{concept} {norm}: share of the best fall" for norm in ("linf", "l2") if concept == "pgd" or norm == "linf"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_library_out_of_step_is_named(break_plug):
    def late(attack):
        return lambda model, x, y, threat, **params: attack(
            model, x, y, threat, **{**params, "step_size": 0.01}
        )

    break_plug("attack", "foolbox/pgd", late)
    seen = well(part("lockstep"))
    assert seen["foolbox: FGSM and PGD, with and without a start"] is False
    assert seen["art: FGSM and PGD, with and without a start"] is True


@pytest.mark.slow
def test_a_masked_model_that_is_not_seen_through_is_a_failure(break_plug):
    """Catches a doctor that is content with any attack."""
    break_plug("attack", "square", lambda f: lambda model, x, y, threat, **k: x.clone())
    seen = well(part("masked models"))
    assert seen == {"a factor of 1000 on the logits": True, "pixels of 8 levels": False}


def test_a_planted_fault_that_is_not_found_is_a_failure(monkeypatch):
    """Catches an expectation that cannot fail."""
    harmless = {"no fault at all": lambda attack, *rest, **params: attack(*rest, **params)}
    monkeypatch.setattr(doctor, "FAULTS", harmless)
    assert well(part("planted faults"))["PGD, no fault at all"] is False


def test_another_version_and_a_missing_library_are_remarks(monkeypatch):
    torchattacks, netcal = (
        next(one for one in registry.libraries() if one.name == name)
        for name in ("torchattacks", "netcal")
    )
    other = replace(torchattacks, version="0.0.1")
    gone = Library("netcal", "no_such_module", "netcal", netcal.version)
    monkeypatch.setattr(registry, "_libraries", {"torchattacks": other, "netcal": gone})
    lines = {what: (seen, fine) for what, _, seen, fine in part("versions")}
    assert lines["torchattacks"] == (torchattacks.found_version(), None)
    assert lines["netcal"] == (f"missing: pip install netcal=={netcal.version}", None)


def test_published_weights_are_a_remark_where_there_are_none(tmp_path):
    assert [fine for *_, fine in part("published weights", tmp_path)] == [None, None]


@pytest.mark.data
@pytest.mark.slow
def test_published_weights_are_reproduced(data_dir):
    lines = part("published weights", data_dir)
    assert [fine for *_, fine in lines] == [True] * 4


def test_an_examination_that_crashes_has_failed_and_the_rest_goes_on(monkeypatch):
    """Catches a crash that ends the doctor, or passes for health."""

    def crash(_):
        raise ZeroDivisionError("in here")
        yield

    monkeypatch.setattr(
        doctor, "PARTS", {"one": crash, "two": lambda _: iter([("it", "1", "1", True)])}
    )
    found = list(doctor.examine())
    assert [(one.part, one.status) for one in found] == [("one", "FAIL"), ("two", "ok")]
    assert "ZeroDivisionError: in here" in found[0].seen


@pytest.mark.parametrize(("fine", "code"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_code_says_whether_it_is_well(monkeypatch, fine, code):
    monkeypatch.setattr(doctor, "PARTS", {"one": lambda _: iter([("it", "1", "2", fine)])})
    said = CliRunner().invoke(app, ["doctor"])
    assert said.exit_code == code, said.output
    assert ("FAIL" in said.output) == (fine is False)


def test_nothing_is_printed_without_a_console(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "PARTS", {"one": lambda _: iter([("it", "1", "1", True)])})
    assert [one.status for one in api.doctor()] == ["ok"]
    assert capsys.readouterr().out == ""


def test_the_linear_model_is_the_one_that_the_closed_form_is_of():
    model, weight = doctor._linear()
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 1
    with torch.no_grad():
        margins = model(x)[0] - model(torch.zeros_like(x))[0]
    assert float(margins[0] - margins[1]) == pytest.approx(weight[6], rel=1e-5)
