// y = activation(x w^T + bias) + residual, 8 x 16 in registers
//
// One thread makes a tile of 8 rows by 16 columns: per step of 4 along K it loads 8 + 16 vectors for 512 multiply-adds.
// 8 x 4 threads make 32 rows by 128 columns. Edges: loads are clamped, stores guarded.
//
// As in `matmul`, each thread parks its tile in its own part of workgroup memory (16 KiB) and finishes it in a loop.
//
// family: matmul
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/columns.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

var<workgroup> parked: array<vec4<f32>, 1024>;   // [32 threads, 8 rows, 4 columns]

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = (group.x * 8u + thread % 8u) * 4u;
    let row = (group.y * 4u + thread / 8u) * 8u;
    if (column >= params.n4 || row >= params.m) {
        return;
    }
    let x0 = x_base(row + 0u);
    let x1 = x_base(row + 1u);
    let x2 = x_base(row + 2u);
    let x3 = x_base(row + 3u);
    let x4 = x_base(row + 4u);
    let x5 = x_base(row + 5u);
    let x6 = x_base(row + 6u);
    let x7 = x_base(row + 7u);
    var acc0_0 = vec4<f32>(0.0); var acc0_1 = vec4<f32>(0.0); var acc0_2 = vec4<f32>(0.0); var acc0_3 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0); var acc1_1 = vec4<f32>(0.0); var acc1_2 = vec4<f32>(0.0); var acc1_3 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0); var acc2_1 = vec4<f32>(0.0); var acc2_2 = vec4<f32>(0.0); var acc2_3 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0); var acc3_1 = vec4<f32>(0.0); var acc3_2 = vec4<f32>(0.0); var acc3_3 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0); var acc4_1 = vec4<f32>(0.0); var acc4_2 = vec4<f32>(0.0); var acc4_3 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0); var acc5_1 = vec4<f32>(0.0); var acc5_2 = vec4<f32>(0.0); var acc5_3 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0); var acc6_1 = vec4<f32>(0.0); var acc6_2 = vec4<f32>(0.0); var acc6_3 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0); var acc7_1 = vec4<f32>(0.0); var acc7_2 = vec4<f32>(0.0); var acc7_3 = vec4<f32>(0.0);
    for (var k = k_first(group.z); k < k_end(group.z); k += 1u) {
        let b0 = columns(column + 0u, params.n4, k, params.k4);
        let b1 = columns(column + 1u, params.n4, k, params.k4);
        let b2 = columns(column + 2u, params.n4, k, params.k4);
        let b3 = columns(column + 3u, params.n4, k, params.k4);
        let a0 = widen_act(x[x0 + k]);
        acc0_0 = step4(a0, b0, acc0_0); acc0_1 = step4(a0, b1, acc0_1); acc0_2 = step4(a0, b2, acc0_2); acc0_3 = step4(a0, b3, acc0_3);
        let a1 = widen_act(x[x1 + k]);
        acc1_0 = step4(a1, b0, acc1_0); acc1_1 = step4(a1, b1, acc1_1); acc1_2 = step4(a1, b2, acc1_2); acc1_3 = step4(a1, b3, acc1_3);
        let a2 = widen_act(x[x2 + k]);
        acc2_0 = step4(a2, b0, acc2_0); acc2_1 = step4(a2, b1, acc2_1); acc2_2 = step4(a2, b2, acc2_2); acc2_3 = step4(a2, b3, acc2_3);
        let a3 = widen_act(x[x3 + k]);
        acc3_0 = step4(a3, b0, acc3_0); acc3_1 = step4(a3, b1, acc3_1); acc3_2 = step4(a3, b2, acc3_2); acc3_3 = step4(a3, b3, acc3_3);
        let a4 = widen_act(x[x4 + k]);
        acc4_0 = step4(a4, b0, acc4_0); acc4_1 = step4(a4, b1, acc4_1); acc4_2 = step4(a4, b2, acc4_2); acc4_3 = step4(a4, b3, acc4_3);
        let a5 = widen_act(x[x5 + k]);
        acc5_0 = step4(a5, b0, acc5_0); acc5_1 = step4(a5, b1, acc5_1); acc5_2 = step4(a5, b2, acc5_2); acc5_3 = step4(a5, b3, acc5_3);
        let a6 = widen_act(x[x6 + k]);
        acc6_0 = step4(a6, b0, acc6_0); acc6_1 = step4(a6, b1, acc6_1); acc6_2 = step4(a6, b2, acc6_2); acc6_3 = step4(a6, b3, acc6_3);
        let a7 = widen_act(x[x7 + k]);
        acc7_0 = step4(a7, b0, acc7_0); acc7_1 = step4(a7, b1, acc7_1); acc7_2 = step4(a7, b2, acc7_2); acc7_3 = step4(a7, b3, acc7_3);
    }

    let mine = thread * 32u;
    parked[mine + 0u] = acc0_0; parked[mine + 1u] = acc0_1; parked[mine + 2u] = acc0_2; parked[mine + 3u] = acc0_3;
    parked[mine + 4u] = acc1_0; parked[mine + 5u] = acc1_1; parked[mine + 6u] = acc1_2; parked[mine + 7u] = acc1_3;
    parked[mine + 8u] = acc2_0; parked[mine + 9u] = acc2_1; parked[mine + 10u] = acc2_2; parked[mine + 11u] = acc2_3;
    parked[mine + 12u] = acc3_0; parked[mine + 13u] = acc3_1; parked[mine + 14u] = acc3_2; parked[mine + 15u] = acc3_3;
    parked[mine + 16u] = acc4_0; parked[mine + 17u] = acc4_1; parked[mine + 18u] = acc4_2; parked[mine + 19u] = acc4_3;
    parked[mine + 20u] = acc5_0; parked[mine + 21u] = acc5_1; parked[mine + 22u] = acc5_2; parked[mine + 23u] = acc5_3;
    parked[mine + 24u] = acc6_0; parked[mine + 25u] = acc6_1; parked[mine + 26u] = acc6_2; parked[mine + 27u] = acc6_3;
    parked[mine + 28u] = acc7_0; parked[mine + 29u] = acc7_1; parked[mine + 30u] = acc7_2; parked[mine + 31u] = acc7_3;
    for (var r = row; r < min(row + 8u, params.m); r += 1u) {
        for (var c = column; c < min(column + 4u, params.n4); c += 1u) {
            put(group.z, r, c, parked[mine + (r - row) * 4u + c - column]);
        }
    }
}
