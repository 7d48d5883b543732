// The most frequent class in each patch of a picture; of equally frequent ones the lowest.
//
// classes [B, H, W], below 2^24 -> modes [B, h w], patches of side x side pixels, side at most 32; pixels beyond the last
// whole patch do not count. One workgroup of 64 per patch: its classes lie in workgroup memory and every pixel counts its
// equals, so the number of classes does not matter.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    patches: u32,        // B h w
    width: u32,
    height: u32,
    grid_width: u32,
    grid_height: u32,
    side: u32,
}

const NO_CLASS: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> classes: array<u32>;
@group(0) @binding(2) var<storage, read_write> modes: array<u32>;

// The patch's classes four by four, filled up with NO_CLASS.
var<workgroup> inside: array<vec4<u32>, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups);
    if (index >= params.patches) {
        return;
    }
    let cells = params.grid_width * params.grid_height;
    let cell = index % cells;
    let corner = vec2<u32>(cell % params.grid_width, cell / params.grid_width) * params.side;
    let first = (index / cells) * params.width * params.height + corner.y * params.width + corner.x;
    let count = params.side * params.side;
    let fours = (count + 3u) / 4u;
    for (var four = lane; four < fours; four += 64u) {
        var v = vec4<u32>(NO_CLASS);
        for (var j = 0u; j < min(4u, count - four * 4u); j += 1u) {
            let i = four * 4u + j;
            v[j] = classes[first + (i / params.side) * params.width + i % params.side];
        }
        inside[four] = v;
    }
    workgroupBarrier();
    var best = NO_CLASS;
    var most = 0u;
    var seen = NO_CLASS;
    for (var i = lane; i < count; i += 64u) {
        let mine = inside[i / 4u][i % 4u];
        // Most patches are of few classes: what was counted last need not be counted again.
        if (mine == seen) {
            continue;
        }
        seen = mine;
        var equals = vec4<u32>(0u);
        for (var four = 0u; four < fours; four += 1u) {
            equals += select(vec4<u32>(0u), vec4<u32>(1u), inside[four] == vec4<u32>(mine));
        }
        let all = equals.x + equals.y + equals.z + equals.w;
        if (all > most || (all == most && mine < best)) {
            most = all;
            best = mine;
        }
    }
    // Both fit an f32 exactly.
    let largest = reduce_max(lane, f32(most));
    let lowest = -reduce_max(lane, select(-3.0e38, -f32(best), f32(most) == largest));
    if (lane == 0u) {
        modes[index] = u32(lowest);
    }
}
