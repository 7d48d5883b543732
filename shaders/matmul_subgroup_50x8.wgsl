// y = activation(x w^T + bias) + residual, 50 x 8 by subgroups, eight steps of K per load
//
// One thread makes a tile of 50 rows by 8 columns, 8 threads 50 rows by 64 columns. The lanes of a subgroup lie side by side in N
// and share their rows: lane i reads row i % 8 of each eight, and the others get it by broadcast.
//
// A CPU driver makes a load lane by lane, with a test and four copies each, whether its components have 32 bits or 64. So
// this kernel loads f32 as 64-bit words, eight elements at once: 7 + 8 loads for 3,200 multiply-adds, where `matmul` has 41 for
// 1,600. Rows and columns are as many as make the fewest loads for 400 sums, which live on
// the stack anyway. The eight columns of a thread are likewise finished and stored at once. N, K and the rows of x must be
// multiples of 8.
//
// As in `matmul`, each thread parks its tile in its own part of workgroup memory (12.5 KiB) and finishes it in a loop.
//
// family: matmul
// needs: subgroup_int64
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/act8_{act}.wgsl
// include: common/weight8_{weight}.wgsl
// include: common/eight_floats.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_eights.wgsl
// include: common/subgroup_tile_50x8.wgsl
// include: common/tile.wgsl
// include: common/tile8.wgsl
// include: common/gelu.wgsl

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    let eight = group.x * 8u + thread;
    let row = group.y * 50u;
    make_tile(thread, lane, row, eight, params.n4, params.k4 / 2u, k_first(group.z) / 2u, k_end(group.z) / 2u);
    if (2u * eight < params.n4) {
        let scale = scale8(eight);
        let bias = bias8(eight);
        for (var r = row; r < min(row + 50u, params.m); r += 1u) {
            put8(group.z, r, eight, scale, bias, parked[thread * 50u + r - row]);
        }
    }
}
