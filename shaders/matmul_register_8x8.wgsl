// y = activation(x w^T + bias) + residual, 8 x 8 in registers
//
// One thread makes a tile of 8 rows by 8 columns: per step of 4 along K it loads 8 + 8 vectors for 256 multiply-adds. 8 x 4
// threads make 32 rows by 64 columns. For GPUs whose registers do not hold `matmul`'s tile and that gain nothing
// from workgroup memory. Edges: loads are clamped, stores guarded.
//
// As in `matmul`, each thread parks its tile in its own part of workgroup memory (8 KiB) and finishes it in a loop.
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

var<workgroup> parked: array<vec4<f32>, 512>;   // [32 threads, 8 rows, 2 columns]

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = (group.x * 8u + thread % 8u) * 2u;
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
    var acc0_0 = vec4<f32>(0.0); var acc0_1 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0); var acc1_1 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0); var acc2_1 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0); var acc3_1 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0); var acc4_1 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0); var acc5_1 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0); var acc6_1 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0); var acc7_1 = vec4<f32>(0.0);
    for (var k = k_first(group.z); k < k_end(group.z); k += 1u) {
        let b0 = columns(column + 0u, params.n4, k, params.k4);
        let b1 = columns(column + 1u, params.n4, k, params.k4);
        let a0 = widen_act(x[x0 + k]);
        acc0_0 = step4(a0, b0, acc0_0); acc0_1 = step4(a0, b1, acc0_1);
        let a1 = widen_act(x[x1 + k]);
        acc1_0 = step4(a1, b0, acc1_0); acc1_1 = step4(a1, b1, acc1_1);
        let a2 = widen_act(x[x2 + k]);
        acc2_0 = step4(a2, b0, acc2_0); acc2_1 = step4(a2, b1, acc2_1);
        let a3 = widen_act(x[x3 + k]);
        acc3_0 = step4(a3, b0, acc3_0); acc3_1 = step4(a3, b1, acc3_1);
        let a4 = widen_act(x[x4 + k]);
        acc4_0 = step4(a4, b0, acc4_0); acc4_1 = step4(a4, b1, acc4_1);
        let a5 = widen_act(x[x5 + k]);
        acc5_0 = step4(a5, b0, acc5_0); acc5_1 = step4(a5, b1, acc5_1);
        let a6 = widen_act(x[x6 + k]);
        acc6_0 = step4(a6, b0, acc6_0); acc6_1 = step4(a6, b1, acc6_1);
        let a7 = widen_act(x[x7 + k]);
        acc7_0 = step4(a7, b0, acc7_0); acc7_1 = step4(a7, b1, acc7_1);
    }

    let mine = thread * 16u;
    parked[mine + 0u] = acc0_0; parked[mine + 1u] = acc0_1;
    parked[mine + 2u] = acc1_0; parked[mine + 3u] = acc1_1;
    parked[mine + 4u] = acc2_0; parked[mine + 5u] = acc2_1;
    parked[mine + 6u] = acc3_0; parked[mine + 7u] = acc3_1;
    parked[mine + 8u] = acc4_0; parked[mine + 9u] = acc4_1;
    parked[mine + 10u] = acc5_0; parked[mine + 11u] = acc5_1;
    parked[mine + 12u] = acc6_0; parked[mine + 13u] = acc6_1;
    parked[mine + 14u] = acc7_0; parked[mine + 15u] = acc7_1;
    for (var r = row; r < min(row + 8u, params.m); r += 1u) {
        for (var c = column; c < min(column + 2u, params.n4); c += 1u) {
            put(group.z, r, c, parked[mine + (r - row) * 2u + c - column]);
        }
    }
}
