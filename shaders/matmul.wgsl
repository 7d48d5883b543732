// y = activation(x w^T + bias) + residual, or the ReLU of that; 25 x 16 in registers
//
// Operands: common/matmul_operands.wgsl. What runs where no other kernel can, and where N is too small for theirs.
//
// One thread makes a tile of 25 rows by 16 columns in registers: per step of 4 along K it loads 25 + 16 vectors for
// 1,600 multiply-adds. On a CPU driver a load costs as much as some 20 multiply-adds, so the tile is as large as
// registers and their spilling allow, and 25 rows waste nothing of 50 tokens, little of 197, 257 or 1,025. The 8 threads
// of a workgroup lie `lanes_n` side by side in N, the rest below each other. Edges: loads are clamped, stores guarded.
//
// Bias, activation and residual are applied in one loop over the finished tile, which each thread parks in its own
// part of workgroup memory (12.5 KiB in all; no barrier, nothing is shared). Written out 100 times instead, that code
// takes a CPU driver five seconds to compile; as a private array, too.
//
// family: matmul
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/columns.wgsl
// include: common/register_tile.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

fn row_base(image: u32, row: u32) -> u32 {
    return x_base(row);
}

fn row_load(base: u32, k: u32) -> vec4<f32> {
    return widen_act(x[base + k]);
}

fn columns_load(image: u32, column: u32, k: u32) -> mat4x4<f32> {
    return columns(column, params.n4, k, params.k4);
}

fn combine(a: vec4<f32>, b: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    return step4(a, b, acc);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = (group.x * params.lanes_n + lane % params.lanes_n) * 4u;
    let row = (group.y * (8u / params.lanes_n) + lane / params.lanes_n) * 25u;
    if (column >= params.n4 || row >= params.m) {
        return;
    }
    make_tile(lane, 0u, row, column, k_first(group.z), k_end(group.z));
    for (var r = row; r < min(row + 25u, params.m); r += 1u) {
        for (var c = column; c < min(column + 4u, params.n4); c += 1u) {
            put(group.z, r, c, parked[lane * 100u + (r - row) * 4u + c - column]);
        }
    }
}
