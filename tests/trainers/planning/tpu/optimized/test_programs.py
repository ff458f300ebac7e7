"""What is read from the text of an optimized program, by hand."""

import pytest

from trainers.planning.tpu.chips import CHIPS
from trainers.planning.tpu.optimized.buffers import peak_of
from trainers.planning.tpu.optimized.hlo_text import leaves, parse_program
from trainers.planning.tpu.optimized.roofline import roofline
from trainers.planning.tpu.optimized.traffic import collective_bytes, memory_traffic

# A chain of three buffers, of which the first is still read by the last: all three are alive at %c.
CHAIN = """HloModule chain, is_scheduled=true

ENTRY %main (p: f32[256,128]) -> f32[256,128] {
  %p = f32[256,128]{1,0:T(8,128)} parameter(0)
  %a = f32[256,128]{1,0:T(8,128)} negate(%p), metadata={op_name="first/layer/Neg" source_line=3}
  %b = f32[256,3]{1,0:T(8,128)} custom-call(%a), custom_call_target="Cut"
  %near = f32[256,128]{1,0:T(8,128)S(1)} negate(%a)
  %c = f32[256,128]{1,0:T(8,128)} add(%a, %near)
  %again = f32[32768]{0:T(1024)} bitcast(%c)
  %d = f32[256,128]{1,0:T(8,128)} custom-call(%again, %b), custom_call_target="Join"
  ROOT %e = f32[256,128]{1,0:T(8,128)} negate(%d)
}
"""
MATRIX = 256 * 128 * 4

LOOP = """HloModule loop, is_scheduled=true

%fused_slice (x: f32[64,8,128], i: s32[]) -> f32[8,128] {
  %x = f32[64,8,128]{2,1,0:T(8,128)} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %slice = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%x, %i, %zero, %zero)
  ROOT %row = f32[8,128]{1,0:T(8,128)} bitcast(%slice)
}

%fused_write (y: f32[64,8,128], v: f32[1,8,128], j: s32[]) -> f32[64,8,128] {
  %y = f32[64,8,128]{2,1,0:T(8,128)} parameter(0)
  %v = f32[1,8,128]{2,1,0:T(8,128)} parameter(1)
  %j = s32[] parameter(2)
  %zero.1 = s32[] constant(0)
  ROOT %put = f32[64,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%y, %v, %j, %zero.1, %zero.1)
}

%body (t: (s32[], f32[64,8,128])) -> (s32[], f32[64,8,128]) {
  %t = (s32[]{:T(128)}, f32[64,8,128]{2,1,0:T(8,128)}) parameter(0)
  %n = s32[]{:T(128)S(2)} get-tuple-element(%t), index=0
  %all = f32[64,8,128]{2,1,0:T(8,128)} get-tuple-element(%t), index=1
  %one = f32[8,128]{1,0:T(8,128)} fusion(%all, %n), kind=kLoop, calls=%fused_slice
  %sum = f32[8,128]{1,0:T(8,128)} all-reduce(%one), replica_groups={{0,1}}, to_apply=%add
  %wide = f32[1,8,128]{2,1,0:T(8,128)} bitcast(%sum)
  %next = f32[64,8,128]{2,1,0:T(8,128)} fusion(%all, %wide, %n), kind=kLoop, calls=%fused_write
  ROOT %out = (s32[]{:T(128)}, f32[64,8,128]{2,1,0:T(8,128)}) tuple(%n, %next)
}

%add (l: f32[], r: f32[]) -> f32[] {
  %l = f32[] parameter(0)
  %r = f32[] parameter(1)
  ROOT %s = f32[] add(%l, %r)
}

ENTRY %main (a: s32[], b: f32[64,8,128]) -> (s32[], /*index=1*/f32[64,8,128]) {
  %a = s32[]{:T(128)} parameter(0)
  %b = f32[64,8,128]{2,1,0:T(8,128)} parameter(1)
  %in = (s32[]{:T(128)}, f32[64,8,128]{2,1,0:T(8,128)}) tuple(%a, %b)
  ROOT %w = (s32[]{:T(128)}, f32[64,8,128]{2,1,0:T(8,128)}) while(%in), body=%body, TRIPS
}
""".replace("TRIPS", 'condition=%cond, backend_config={"known_trip_count":{"n":"64"}}')


@pytest.mark.parametrize(
    ("kind", "logical", "padded"),
    [
        # 3 columns become a tile of 128, 5 rows become 8.
        ("f32[5,3]{1,0:T(8,128)}", 60, 8 * 128 * 4),
        # The axis that lies closest together is the first: 128 of them, and 8 of 3.
        ("bf16[100,3]{0,1:T(8,128)(2,1)}", 600, 128 * 8 * 2),
        ("f32[200]{0:T(128)S(1)}", 800, 1024),
        ("pred[7,65]{1,0:T(8,128)(4,1)}", 455, 8 * 128),
        ("f32[]{:T(128)}", 4, 4),
        ("s64[9]{0}", 72, 72),
    ],
)
def test_tiles_pad_the_two_closest_axes(kind, logical, padded):
    text = (
        f"HloModule m\n\nENTRY %main (p: f32[]) -> f32[] {{\n  ROOT %p = {kind} parameter(0)\n}}\n"
    )
    program = parse_program(text)
    (array,) = leaves(program.computations["main"][0].shape)
    assert (array.logical_bytes, array.padded_bytes) == (logical, padded)
    assert array.space == ("S(1)" in kind)


def test_the_peak_is_where_most_buffers_are_alive():
    peak = peak_of(parse_program(CHAIN))
    # At %c: %a (its last reader), %b and %c itself. %near is inside of the cores, %again is %c.
    narrow = 256 * 128 * 4
    assert peak.size_bytes == 2 * MATRIX + narrow
    assert peak.padding_bytes == narrow - 256 * 3 * 4
    assert peak.buffers[0].operation == "first/layer/Neg"


def test_traffic_counts_what_crosses_between_memory_and_cores():
    program = parse_program(CHAIN)
    # %a reads p and writes; %b reads %a and writes; %near reads; %c reads %a and writes; %d reads
    # two and writes; %e reads and writes.
    assert memory_traffic(program) == (2 + 2 + 1 + 2 + 3 + 2) * MATRIX
    assert collective_bytes(program) == {}


def test_loops_count_as_often_as_they_run_and_slices_as_what_they_take():
    program = parse_program(LOOP)
    row = 8 * 128 * 4
    # A row read and written by the slice, read and written by the collective, read and written by
    # the update; the loop's own counter is a word that is read twice inside of the cores.
    assert memory_traffic(program) == 64 * 6 * row
    assert collective_bytes(program) == {"all-reduce": 64 * row}
    assert peak_of(program).size_bytes >= 2 * row


def test_the_roofline_by_hand():
    chip = CHIPS["v5e"]
    bound = roofline(197e12, 819e8, 98.5e12, chip)
    assert (bound.seconds, bound.bound_by) == (1.0, "compute")
    assert bound.utilization == pytest.approx(0.5)
    assert bound.intensity == pytest.approx(197e12 / 819e8)
    bound = roofline(197e12, 4 * 819e9, 197e12, chip)
    assert (bound.seconds, bound.bound_by) == (4.0, "memory")
    assert bound.utilization == pytest.approx(0.25)
