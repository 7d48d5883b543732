// Patches of an image times the patch convolution as `patch_embed` defines it, 50 x 8 by subgroups
//
// The product that `patch_embed` describes by the tile of `matmul_subgroup_50x8`, for the same kind of device: one thread makes
// 50 patches by 8 channels. Eight neighbouring weights belong to eight neighbouring pixels, so p, the image's width and C must
// be multiples of 8.
//
// family: patch_embed
// needs: subgroup_int64
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16}.wgsl
// include: common/act8_{act}.wgsl
// include: common/weight8_{weight}.wgsl
// include: common/eight_floats.wgsl
// include: common/patch_embed_params.wgsl
// include: common/subgroup_tile_50x8.wgsl
// include: common/tile.wgsl
// include: common/tile8.wgsl

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<vec4<u64>>;
@group(0) @binding(2) var<storage, read> weight: array<Weight8>;
@group(0) @binding(3) var<storage, read> class_token: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read> positions: array<vec4<u64>>;
@group(0) @binding(5) var<storage, read_write> y: array<Act8>;

alias RowBase = u32;
alias Step = u32;

fn row_base(row: u32) -> RowBase {
    return corner(row) / 8u;
}

fn step_at(k: u32) -> Step {
    return pixel(8u * k) / 8u;
}

fn load_row(base: RowBase, step: Step) -> vec4<u64> {
    return pixels[base + step];
}

fn low_row(v: vec4<u64>) -> vec4<f32> {
    return low_floats(v);
}

fn high_row(v: vec4<u64>) -> vec4<f32> {
    return high_floats(v);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    let eight = group.x * 8u + thread;
    let row = group.y * 50u;
    let width8 = params.width4 / 2u;
    let k8 = params.k4 / 2u;
    make_tile(thread, lane, row, eight, params.width4, k8, 0u, k8);
    if (eight < width8) {
        for (var r = row; r < min(row + 50u, params.rows); r += 1u) {
            var v = parked[thread * 50u + r - row];
            var at = vec4<u64>();
            if (params.prefix != 0u) {
                let token = r % params.tokens;
                if (token == 0u) {
                    v = class_token[eight];
                }
                at = positions[token * width8 + eight];
            }
            y[r * width8 + eight] = eight_acts(low_floats(v) + low_floats(at), high_floats(v) + high_floats(at));
        }
    }
}
