"""A free cartridge for a Game Boy, assembled here: it moves, and meets events, as buttons say.

It keeps its state where Pokemon Red keeps its own: right and left change the column, down and up
the row, A sets one more event, B raises the first monster, START gives a badge and SELECT begins a
battle. The picture follows the column.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

JOYPAD, LINE, CONTROL, SCROLL, PALETTE = 0x00, 0x44, 0x40, 0x43, 0x47  # hardware at 0xFF00
ROW, COLUMN, EVENTS, BADGES, BATTLE = 0xD361, 0xD362, 0xD747, 0xD356, 0xD057
PARTY_COUNT, LEVEL, HEALTH, FULL_HEALTH = 0xD163, 0xD18C, 0xD16D, 0xD18E
HELD = (0xC000, 0xC001)  # the buttons that were held a frame ago, of each half of the pad

VBLANK = 144


def store(address: int, value: int) -> bytes:
    return bytes((0x3E, value, 0xEA, address & 255, address >> 8))  # ld a, value; ld (address), a


def to_hardware(register: int, value: int) -> bytes:
    return bytes((0x3E, value, 0xE0, register))  # ld a, value; ldh (register), a


def at(address: int, operation: bytes) -> bytes:
    return bytes((0x21, address & 255, address >> 8)) + operation  # ld hl, address; ...


UP, DOWN = b"\x34", b"\x35"  # inc (hl); dec (hl)
ONE_MORE_BIT = b"\x7e\x37\x17\x77"  # ld a, (hl); scf; rla; ld (hl), a


def pressed(select: int, before: int, actions: list[bytes]) -> bytes:
    """Read half of the pad and do the action of each of its four buttons that is newly down."""
    code = to_hardware(JOYPAD, select)
    code += bytes((0xF0, JOYPAD)) * 3  # ldh a, (joypad): it needs a moment
    code += b"\x2f\xe6\x0f\x47"  # cpl; and 15; ld b, a
    code += at(
        before, b"\x4e\x77\x79\x2f\xa0\x57"
    )  # ld c,(hl); ld (hl),a; ld a,c; cpl; and b; ld d,a
    for bit, action in enumerate(actions):
        code += bytes((0xCB, 0x42 + 8 * bit, 0x28, len(action))) + action  # bit n, d; jr z, over
    return code


def wait_for(line: int, while_there: bool) -> bytes:
    jump = 0x28 if while_there else 0x20
    return bytes((0xF0, LINE, 0xFE, line, jump, 0xFA))  # ldh a, (line); cp line; jr ., -6


def make_rom(title: bytes = b"POKEMON RED") -> bytes:
    """Return the image, 32 KiB."""
    begin = b"\xf3\x31\xfe\xff"  # di; ld sp, $fffe
    begin += wait_for(VBLANK, while_there=False) + to_hardware(CONTROL, 0)
    begin += at(
        0x8010, b"\x3e\xff\x06\x10\x22\x05\x20\xfc"
    )  # tile 1 is black: 16 times ld (hl+), a
    begin += store(0x9800 + 5 * 32 + 12, 1) + to_hardware(PALETTE, 0xE4)
    begin += store(ROW, 10) + store(COLUMN, 20) + store(PARTY_COUNT, 1) + store(LEVEL, 5)
    begin += store(HEALTH, 10) + store(FULL_HEALTH, 20) + to_hardware(CONTROL, 0x91)
    loop = wait_for(VBLANK, while_there=False)
    loop += pressed(0x20, HELD[0], [at(COLUMN, UP), at(COLUMN, DOWN), at(ROW, DOWN), at(ROW, UP)])
    battle, badge = at(BATTLE, UP), at(BADGES, ONE_MORE_BIT)
    loop += pressed(0x10, HELD[1], [at(EVENTS, ONE_MORE_BIT), at(LEVEL, UP), battle, badge])
    loop += bytes(
        (0xFA, COLUMN & 255, COLUMN >> 8, 0xE0, SCROLL)
    )  # ld a, (column); ldh (scroll), a
    loop += wait_for(VBLANK, while_there=True)
    start = 0x150 + len(begin)
    loop += bytes((0xC3, start & 255, start >> 8))  # jp loop
    image = bytearray(0x8000)
    image[0x100:0x104] = b"\x00\xc3\x50\x01"  # nop; jp $150
    image[0x134 : 0x134 + len(title)] = title
    image[0x150 : 0x150 + len(begin) + len(loop)] = begin + loop
    checksum = 0
    for byte in image[0x134:0x14D]:
        checksum = (checksum - byte - 1) & 255
    image[0x14D] = checksum
    return bytes(image)


def write_rom() -> str:
    """Return the path of an image that lasts as long as this process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "red.gb"
    path.write_bytes(make_rom())
    return str(path)
