"""`caimi infer` and `caimi verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caimi.cli.output import HomeOption, JsonOption, Terminal, run_command

if TYPE_CHECKING:
    from caimi.sdk.direct import DirectInference
    from caimi.sdk.inference import Inference
    from caimi.sdk.network import Network
    from caimi.sdk.receipts import AnyReceipt
    from caimi.sdk.verification import RegistryAnswer, Verification

    Answered = Inference | DirectInference

__all__ = ["infer", "show_answer", "verify", "write_answer"]

TensorsHelp = "A .safetensors or .npz file, or name=file.npy; repeatable."


def infer(
    model: Annotated[str, typer.Argument(help="Id of a publication, name@version, or name.")],
    tensors: Annotated[list[str], typer.Option("--input", metavar="FILE", help=TensorsHelp)],
    on: Annotated[
        str | None, typer.Option(metavar="LANE", help="Lane that takes the request. Default: home.", show_default=False)
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Ask the host itself: no ledger is asked, the answer comes at once.")
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="With --direct: every --input is asked by itself, many at a time.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where the answer goes: .safetensors or .npz, with --each a folder. Default: answer.npz, or answers.",
            show_default=False,
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(
            help="Where the receipt goes. Default: receipt.json; with --each beside each answer.", show_default=False
        ),
    ] = None,
    account: Annotated[str, typer.Option(help="Account of the state folder, or a key file.")] = "consumer",
    deadline: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=86_400,
            help="Seconds until no answer is taken any more. Default: 600; with --direct 30, at most 60.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a published model for one answer, and check its receipt. Hosts are UNATTESTED.

    The input is sealed to the host and stored, the request is recorded on the lane, the host answers sealed to this
    command alone, and the registry accepts the signed answer. Nothing is written if a link of the receipt is broken.
    An interrupted request goes on when the command is repeated with the same input.

    With --direct nothing is recorded: the host answers over HTTP under its lease, within a minute, and only the receipt
    shows what was computed.
    """
    if direct:
        _check_words(on=on, each=each, receipt=receipt)
        from caimi.cli.direct_inference import DirectQuestion, ask_directly

        ask_directly(
            Terminal(as_json=as_json, resume="repeat the command: direct calls leave nothing behind"),
            DirectQuestion(model=model, words=tensors, account=account, deadline_s=deadline, home=home),
            output=output,
            receipt=receipt,
            each=each,
        )
        return
    if each:
        raise typer.BadParameter("--each needs --direct")
    output, receipt = output or Path("answer.npz"), receipt or Path("receipt.json")
    terminal = Terminal(as_json=as_json, resume="repeat the same command: its request goes on, none is made twice")

    async def act() -> None:
        from caimi.cli.opening import open_client
        from caimi.sdk.accounts import find_account, password_of
        from caimi.sdk.client import ANSWER_S
        from caimi.sdk.drafts import DraftFolder
        from caimi.sdk.network import default_home
        from caimi.sdk.tensor_files import check_writable, read_arrays

        folder = home or default_home()
        async with open_client(folder, terminal) as client:
            key, arrays = find_account(folder, account), read_arrays(tensors)
            # An answer that could not be stored would have been asked for in vain.
            check_writable(output, tensors=True)
            check_writable(receipt, tensors=False)
            drafts = DraftFolder(folder / "drafts", password_of(folder))
            found = await client.find_model(model)
            lane = on or found.home
            terminal.say(f"{found.name}@{found.version} on {lane}: seal the input, record the request")
            answered = await client.infer(
                found.id,
                arrays,
                lane=lane,
                account=key,
                deadline_s=deadline or ANSWER_S,
                drafts=drafts,
                progress=terminal.say,
            )
        write_answer(answered, output, receipt)
        drafts.drop(answered.draft or "")
        show_answer(terminal, answered, output, receipt)
        terminal.hint(f"Next: `caimi verify {receipt}`, or `caimi trace 0x{answered.verification.request.hex()}`")

    run_command(terminal, act)


def verify(
    receipt: Annotated[Path, typer.Argument(help="Receipt file that `caimi infer` wrote.")],
    tensors: Annotated[
        list[str] | None, typer.Option("--input", metavar="FILE", help=TensorsHelp, show_default=False)
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option("--output", metavar="FILE", help=TensorsHelp, show_default=False)
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="Id of the network that you trust. Default: that of the state folder.", show_default=False),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no registry.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt, one verdict for each link. Exit code 2 if one is broken.

    Works without any network; with a state folder whose network runs, its registry is asked too.
    """
    terminal = Terminal(as_json=as_json)

    async def act() -> None:
        from caimi.sdk.network import default_home
        from caimi.sdk.receipts import read_receipt
        from caimi.sdk.tensor_files import payload_of
        from caimi.sdk.tracing import parse_id
        from caimi.sdk.verification import verify_receipt

        file, folder = read_receipt(receipt), home or default_home()
        known = _known_network(terminal, folder) if network is None else None
        trusted = parse_id(network) if network else None
        answer = None
        if known is not None:
            trusted = known.id
            if not offline and known.id == file.network:
                answer = await _registry_answer(terminal, known, file)
        verification = verify_receipt(
            file,
            trusted_network=trusted,
            input_payload=payload_of(tensors) if tensors else None,
            output_payload=payload_of(output) if output else None,
            registry=answer,
        )
        terminal.result(_verification_to_json(verification), *_findings(verification))
        if not verification.is_valid:
            raise typer.Exit(2)

    run_command(terminal, act)


def _known_network(terminal: Terminal, folder: Path) -> Network | None:
    # A receipt is judged without any network; one that cannot be read is as good as none.
    from caimi.sdk.errors import MalformedFile, NoNetwork, OtherFormat
    from caimi.sdk.network import read_network

    try:
        return read_network(folder)
    except NoNetwork:
        return None
    except (OtherFormat, MalformedFile) as error:
        terminal.say(f"not used: {error}")
        return None


async def _registry_answer(terminal: Terminal, known: Network, file: AnyReceipt) -> RegistryAnswer:
    from caimi.apps.devnet.errors import NotRunning
    from caimi.apps.devnet.running import check_running
    from caimi.sdk.client import Client
    from caimi.sdk.verification import RegistryAnswer

    try:
        check_running(known.home)
    except NotRunning as error:
        return RegistryAnswer(receipt_hash=None, failure=error)
    async with Client(known, waiting=terminal.say) as client:
        return await client.ask_registry(file)


def _check_words(*, on: str | None, each: bool, receipt: Path | None) -> None:
    if on is not None:
        raise typer.BadParameter("--on names a lane, and --direct asks none")
    if each and receipt is not None:
        raise typer.BadParameter("with --each receipts lie beside the answers")


def write_answer(answered: Answered, output: Path, receipt: Path) -> None:
    """Write an answer's tensors and its receipt."""
    from caimi.sdk.network import write_json
    from caimi.sdk.receipts import receipt_to_json
    from caimi.sdk.tensor_files import write_payload

    write_payload(output, answered.output_payload)
    # It holds the salts: who has them and guesses the tensors can tell whether the guess is right.
    write_json(receipt, receipt_to_json(answered.file))


def show_answer(terminal: Terminal, answered: Answered, output: Path, receipt: Path) -> None:
    """Print what came and how its receipt was judged."""
    verification = answered.verification
    outputs = {
        name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in answered.outputs.items()
    }
    shown = [f"{name}: {value['dtype']} {value['shape']}" for name, value in outputs.items()]
    terminal.result(
        {
            "ok": True,
            "request": f"0x{verification.request.hex()}",
            "outputs": outputs,
            "output_file": str(output),
            "receipt_file": str(receipt),
            **_verification_to_json(verification),
        },
        *_findings(verification),
        "",
        f"answer   {output}: {', '.join(shown)}",
        f"receipt  {receipt}",
    )


def _verification_to_json(verification: Verification) -> dict[str, object]:
    from caimi.ports.tracing import trace_of

    return {
        "id": f"0x{verification.request.hex()}",
        "trace_id": trace_of(verification.request),
        "verified": verification.is_valid,
        "findings": [finding.to_json() for finding in verification.findings],
        "attestation": "UNATTESTED",
    }


def _findings(verification: Verification) -> list[str]:
    lines = [f"request 0x{verification.request.hex()}"]
    lines += [f"{f.verdict.value:<12} {f.link:<26} {f.text}" for f in verification.findings]
    lines.append("The receipt holds." if verification.is_valid else "THE RECEIPT DOES NOT HOLD.")
    return lines
