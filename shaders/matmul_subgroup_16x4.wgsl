// y = activation(x w^T + bias) + residual, 16 x 4 by subgroups
//
// One thread makes a tile of 16 rows by 4 columns, 32 threads 16 rows by 128 columns.
//
// The lanes of a subgroup lie side by side in N and share their rows: lane i reads row i % 8 of each eight, and the others
// get it by broadcast. So a thread loads 2 + 4 vectors per step of 4 along K for 256 multiply-adds, however
// many lanes a subgroup has; 8 is the least. All threads stay to the end: a lane that left could not send.
//
// As in `matmul`, each thread parks its tile in its own part of workgroup memory (8 KiB) and finishes it in a loop.
//
// family: matmul
// needs: subgroup
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/columns.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

var<workgroup> parked: array<vec4<f32>, 512>;   // [32 threads, 16 rows, 1 columns]

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    let column = (group.x * 32u + thread) * 1u;
    let row = group.y * 16u;
    let share = lane % 8u;
    let x0 = x_base(row + 0u + share);
    let x1 = x_base(row + 8u + share);
    var acc0_0 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0);
    var acc8_0 = vec4<f32>(0.0);
    var acc9_0 = vec4<f32>(0.0);
    var acc10_0 = vec4<f32>(0.0);
    var acc11_0 = vec4<f32>(0.0);
    var acc12_0 = vec4<f32>(0.0);
    var acc13_0 = vec4<f32>(0.0);
    var acc14_0 = vec4<f32>(0.0);
    var acc15_0 = vec4<f32>(0.0);
    for (var k = k_first(group.z); k < k_end(group.z); k += 1u) {
        let b0 = columns(column + 0u, params.n4, k, params.k4);
        let s0 = widen_act(x[x0 + k]);
        acc0_0 = step4(subgroupBroadcast(s0, 0u), b0, acc0_0);
        acc1_0 = step4(subgroupBroadcast(s0, 1u), b0, acc1_0);
        acc2_0 = step4(subgroupBroadcast(s0, 2u), b0, acc2_0);
        acc3_0 = step4(subgroupBroadcast(s0, 3u), b0, acc3_0);
        acc4_0 = step4(subgroupBroadcast(s0, 4u), b0, acc4_0);
        acc5_0 = step4(subgroupBroadcast(s0, 5u), b0, acc5_0);
        acc6_0 = step4(subgroupBroadcast(s0, 6u), b0, acc6_0);
        acc7_0 = step4(subgroupBroadcast(s0, 7u), b0, acc7_0);
        let s1 = widen_act(x[x1 + k]);
        acc8_0 = step4(subgroupBroadcast(s1, 0u), b0, acc8_0);
        acc9_0 = step4(subgroupBroadcast(s1, 1u), b0, acc9_0);
        acc10_0 = step4(subgroupBroadcast(s1, 2u), b0, acc10_0);
        acc11_0 = step4(subgroupBroadcast(s1, 3u), b0, acc11_0);
        acc12_0 = step4(subgroupBroadcast(s1, 4u), b0, acc12_0);
        acc13_0 = step4(subgroupBroadcast(s1, 5u), b0, acc13_0);
        acc14_0 = step4(subgroupBroadcast(s1, 6u), b0, acc14_0);
        acc15_0 = step4(subgroupBroadcast(s1, 7u), b0, acc15_0);
    }

    let mine = thread * 16u;
    parked[mine + 0u] = acc0_0;
    parked[mine + 1u] = acc1_0;
    parked[mine + 2u] = acc2_0;
    parked[mine + 3u] = acc3_0;
    parked[mine + 4u] = acc4_0;
    parked[mine + 5u] = acc5_0;
    parked[mine + 6u] = acc6_0;
    parked[mine + 7u] = acc7_0;
    parked[mine + 8u] = acc8_0;
    parked[mine + 9u] = acc9_0;
    parked[mine + 10u] = acc10_0;
    parked[mine + 11u] = acc11_0;
    parked[mine + 12u] = acc12_0;
    parked[mine + 13u] = acc13_0;
    parked[mine + 14u] = acc14_0;
    parked[mine + 15u] = acc15_0;
    for (var r = row; r < min(row + 16u, params.m); r += 1u) {
        for (var c = column; c < min(column + 1u, params.n4); c += 1u) {
            put(group.z, r, c, parked[mine + (r - row) * 1u + c - column]);
        }
    }
}
