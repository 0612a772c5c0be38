"""The registration endpoint on the wire: byte for byte what Elemental's client expects, and every refusal."""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import WSMsgType, WSServerHandshakeError
from websockets.asyncio.client import connect

from agent.protocol.messages import MAX_MESSAGE_BYTES, Message, MessageType, parse_challenge, parse_error
from agent.register import authorize
from tests.appliance.hosts.box import (
    MAC,
    PLAIN,
    TOKEN,
    Box,
    open_box,
    put_registration,
    software_tpm,
    until,
)

MAC_REGISTRATION = {"config": {"elemental": {"registration": {"auth": "mac"}}}}
MAC_HASH = "f6298bff015cb6c58e55e400b8097684422eb3d3c85edc856cb8d1ba2084878f"
READY = b"\x01"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with open_box(tmp_path) as box:
        yield box


@pytest.fixture
async def mac_box(tmp_path: Path) -> AsyncIterator[Box]:
    async with open_box(tmp_path, MAC_REGISTRATION) as box:
        yield box


def tpm_header(seed: int = 1) -> str:
    return authorize(software_tpm(seed))


def error_of(data: bytes) -> str:
    assert data[0] == MessageType.ERROR
    return parse_error(data[1:])


# --- plain GET (wire-protocol 2.2) -------------------------------------------------------------------------


async def test_the_registration_document_is_six_keys_of_yaml_as_plain_text(tmp_path: Path) -> None:
    registration = {"emulate-tpm": True, "emulated-tpm-seed": 42, "no-smbios": True, "auth": "tpm"}
    secret_parts = {"install": {"device": "/dev/sda"}}
    spec = {"config": {"elemental": {"registration": registration, **secret_parts}, "cloud-config": {"a": 1}}}
    async with open_box(tmp_path, spec) as box:
        async with box.http.get(box.registration_url) as answer:
            body = await answer.text()

        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert body == (
            "elemental:\n"
            "    registration:\n"
            f"        url: {box.registration_url}\n"
            "        emulate-tpm: true\n"
            "        emulated-tpm-seed: 42\n"
            "        no-smbios: true\n"
            "        auth: tpm\n"
        )


async def test_an_unknown_token_is_not_found_in_upstreams_words(box: Box) -> None:
    async with box.http.get(f"{box.url}/elemental/registration/nobody") as answer:
        body = await answer.text()

    assert answer.status == 404
    assert answer.content_type == "text/plain"
    assert body == "failed to find machine registration with registration token nobody"


async def test_a_registration_that_is_not_ready_is_not_found(box: Box) -> None:
    await put_registration(box.store, "later", "later-token", box.url, {}, ready="False")
    await put_registration(box.store, "marker", "marker-token", box.url, {})

    await until_found(box, "marker-token")
    async with box.http.get(f"{box.url}/elemental/registration/later-token") as answer:
        assert answer.status == 404


async def test_two_registrations_with_one_token_are_both_not_found(box: Box) -> None:
    await put_registration(box.store, "copy", TOKEN, box.url, {})

    async def is_gone() -> bool:
        async with box.http.get(box.registration_url) as answer:
            return answer.status == 404

    await until(is_gone)


async def until_found(box: Box, token: str) -> None:
    async def is_found() -> bool:
        async with box.http.get(f"{box.url}/elemental/registration/{token}") as answer:
            return answer.status == 200

    await until(is_found)


# --- refusal before the upgrade (2.4) ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Basic abc", "Bearer PLAIN", "Bearer PLAINunknown", f"Bearer plain{MAC}", "Bearer TPM!"]
    + [
        f"Bearer TPM{base64.b64encode(body).decode()}"
        for body in (b"{}", b"[]", b"not json", b'{"EK":"eA=="}')
    ],
)
async def test_a_bad_authorization_is_refused_with_a_text_before_the_upgrade(
    mac_box: Box, authorization: str
) -> None:
    async with mac_box.http.get(
        mac_box.registration_url,
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "KYaXtfCu89FO3KV2+7aFrQ==",
            **({"Authorization": authorization} if authorization else {}),
        },
    ) as answer:
        text = await answer.text()

    assert answer.status == 401
    assert answer.content_type == "text/plain"
    assert text


async def test_an_identifier_is_refused_where_a_tpm_is_asked_for(box: Box) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await box.connect(PLAIN).__aenter__()

    assert refused.value.status == 401


async def test_an_unknown_token_is_not_found_on_upgrade(box: Box) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await box.connect(tpm_header(), token="nobody").__aenter__()

    assert refused.value.status == 404


async def test_a_token_of_another_keys_making_is_refused(box: Box) -> None:
    token = json.loads(base64.b64decode(tpm_header().removeprefix("Bearer TPM")))
    other = json.loads(base64.b64decode(tpm_header(2).removeprefix("Bearer TPM")))
    token["AK"]["CreateSignature"] = other["AK"]["CreateSignature"]
    forged = "Bearer TPM" + base64.b64encode(json.dumps(token).encode()).decode()

    with pytest.raises(WSServerHandshakeError) as refused:
        await box.connect(forged).__aenter__()

    assert refused.value.status == 401


async def test_a_header_line_of_32_kib_reaches_us(box: Box) -> None:
    headers = {"Upgrade": "websocket", "Authorization": "Bearer TPM" + "A" * (32 * 1024)}
    async with box.http.get(box.registration_url, headers=headers) as answer:
        assert answer.status == 401


# --- the challenge (4.5) -----------------------------------------------------------------------------------


async def test_the_challenge_is_one_small_binary_frame_without_extensions(box: Box) -> None:
    host, port = box.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /elemental/registration/{TOKEN} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"User-Agent: Go-http-client/1.1\r\nAuthorization: {tpm_header()}\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    writer.write(request.encode())

    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    frame = await reader.readexactly(4)
    length = int.from_bytes(frame[2:], "big")
    challenge = json.loads(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()

    accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert f"sec-websocket-accept: {accept.decode().lower()}" in head.lower()
    assert "extensions" not in head.lower()
    assert frame[:2] == b"\x82\x7e"  # final, binary, unmasked, 16-bit length
    assert length == 476
    assert sorted(challenge["EC"]) == ["Credential", "Secret"]


async def test_a_wrong_answer_to_the_challenge_leaves_no_machine(box: Box) -> None:
    async with box.connect(tpm_header()) as talk:
        await talk.socket.receive_bytes()
        await talk.socket.send_bytes(json.dumps({"Secret": base64.b64encode(b"x" * 32).decode()}).encode())
        reply = await talk.socket.receive_bytes()

        assert "wrong" in error_of(reply)
        assert (await talk.socket.receive()).type is WSMsgType.CLOSE
    assert await box.machines() == []


async def test_an_answer_to_an_earlier_challenge_is_worth_nothing(box: Box) -> None:
    identity = software_tpm(1)
    async with box.connect(tpm_header()) as first:
        earlier = parse_challenge(await first.socket.receive_bytes())
    answer = identity.tpm.activate(earlier)
    async with box.connect(tpm_header()) as talk:
        await talk.socket.receive_bytes()
        await talk.socket.send_bytes(json.dumps({"Secret": base64.b64encode(answer).decode()}).encode())

        assert error_of(await talk.socket.receive_bytes())
    assert await box.machines() == []


@pytest.mark.parametrize(
    "answer", [b"", b"{", b"[]", b'{"Secret":1}', b'{"Secret":"*"}', b'{"Secret":"' + b"A" * 600]
)
async def test_a_malformed_answer_ends_the_conversation(box: Box, answer: bytes) -> None:
    async with box.connect(tpm_header()) as talk:
        await talk.socket.receive_bytes()
        await talk.socket.send_bytes(answer)

        assert error_of(await talk.socket.receive_bytes())
        assert (await talk.socket.receive()).type is WSMsgType.CLOSE


# --- messages ----------------------------------------------------------------------------------------------


async def test_a_plain_identity_is_ready_at_once_and_hashed_as_upstream_does(mac_box: Box) -> None:
    async with mac_box.connect(PLAIN) as talk:
        assert await talk.socket.receive_bytes() == READY
        await talk.negotiate(12)
        assert (await talk.get())[0] == MessageType.CONFIG

    (machine,) = await mac_box.machines()
    assert (machine.spec.machine_hash, machine.spec.tpm_hash) == (MAC_HASH, "")


@pytest.mark.parametrize(
    ("offered", "answered", "typed"),
    [
        (5, 5, False),
        (6, 6, False),
        (7, 7, True),
        (9, 9, True),
        (11, 11, True),
        (12, 12, True),
        (13, 12, True),
        (255, 12, True),
    ],
)
async def test_the_lower_version_is_spoken_and_old_clients_get_bare_yaml(
    mac_box: Box, offered: int, answered: int, typed: bool
) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        assert await talk.negotiate(offered) == bytes([MessageType.VERSION, answered])
        reply = await talk.get()

    assert (reply[0] == MessageType.CONFIG) is typed
    document = yaml.safe_load(reply[1:] if typed else reply)
    assert document["elemental"]["system-agent"]["url"] == f"{mac_box.url}/k8s/clusters/local"


async def test_a_client_that_never_says_its_version_gets_bare_yaml(mac_box: Box) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        assert yaml.safe_load(await talk.get())["elemental"]["registration"]["auth"] == "mac"


@pytest.mark.parametrize("payload", [b"\x04", b"", b"\x0c\x0c"])
async def test_a_version_that_is_too_old_or_no_version_is_dropped(mac_box: Box, payload: bytes) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        await talk.say(MessageType.VERSION, payload)
        ended = [await talk.socket.receive() for _ in range(2)]

    assert ended[-1].type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
    assert await mac_box.machines() == []


async def test_an_update_of_an_unknown_machine_is_an_error_in_upstreams_words(mac_box: Box) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        await talk.negotiate(12)
        await talk.say(MessageType.UPDATE)

        reply = await talk.socket.receive_bytes()
        assert reply == b"\x08message: MachineInventory not found\n"
        assert (await talk.socket.receive()).type is WSMsgType.CLOSE


async def test_an_update_of_a_known_machine_is_ready(mac_box: Box) -> None:
    for message, expected in ((MessageType.GET, MessageType.CONFIG), (MessageType.UPDATE, MessageType.READY)):
        async with mac_box.connect(PLAIN) as talk:
            await talk.socket.receive_bytes()
            await talk.negotiate(12)
            await talk.say(message)
            assert (await talk.socket.receive_bytes())[0] == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x0c",
        b"\xff",
        b"\x01",
        b"\x07x",
        b"\x02not json",
        b"\x02[]",
        b"\x0b" + b"[" * 5000,
        b'\x09{"a":1}',
        b'\x03{"a":null}',
        b'\x03{"a":"' + b"x" * 70_000 + b'"}',
        b'\x02{"a":"' + b"x" * 1_100_000 + b'"}',
        b"\x02" + b"\xff\xfe",
    ],
)
async def test_a_bad_message_gets_a_reason_and_the_close(mac_box: Box, data: bytes) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        await talk.negotiate(12)
        await talk.socket.send_bytes(data)

        assert error_of(await talk.socket.receive_bytes())
        assert (await talk.socket.receive()).type is WSMsgType.CLOSE
    assert await mac_box.machines() == []


async def test_a_text_message_is_refused(mac_box: Box) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        await talk.socket.send_str("hello")

        assert error_of(await talk.socket.receive_bytes())


async def test_a_frame_over_the_limit_is_cut_off_without_being_read(mac_box: Box) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        try:
            await talk.socket.send_bytes(b"\x02" + bytes(MAX_MESSAGE_BYTES + 1))
            ended = await talk.socket.receive()
        except ConnectionError:
            return  # gone before we had said it all

    assert ended.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)


async def test_a_fragmented_message_is_put_together(mac_box: Box) -> None:
    data = Message(MessageType.SMBIOS, json.dumps({"A": {"b": "x" * 6000}}).encode()).render()
    url = mac_box.registration_url.replace("http", "ws", 1)
    async with connect(url, additional_headers={"Authorization": PLAIN}, proxy=None) as client:
        assert await client.recv() == READY
        await client.send([data[:4096], data[4096:]])

        assert await client.recv() == READY


async def test_a_conversation_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    time = 0.0
    async with open_box(tmp_path, MAC_REGISTRATION, clock=lambda: time) as box, box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        assert await talk.negotiate(12)
        time = 10.0
        await talk.say(MessageType.GET)

        assert "longer than 10 s" in error_of(await talk.socket.receive_bytes())
        assert (await talk.socket.receive()).type is WSMsgType.CLOSE
        assert await box.machines() == []


async def test_a_host_that_goes_away_in_the_middle_leaves_nothing(mac_box: Box) -> None:
    async with mac_box.connect(PLAIN) as talk:
        await talk.socket.receive_bytes()
        await talk.negotiate(12)
        await talk.tell(MessageType.ANNOTATIONS, {"a": "b"})

    assert await mac_box.machines() == []
