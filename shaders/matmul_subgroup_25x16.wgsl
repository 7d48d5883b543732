// y = activation(x w^T + bias) + residual, 25 x 16 by subgroups
//
// One thread makes a tile of 25 rows by 16 columns, 8 threads 25 rows by 128 columns: the tile of `matmul`, for the same kind
// of device.
//
// The lanes of a subgroup lie side by side in N and share their rows: lane i reads row i % 8 of each eight, and the others
// get it by broadcast. So a thread loads 4 + 16 vectors per step of 4 along K for 1,600 multiply-adds, however
// many lanes a subgroup has; 8 is the least. All threads stay to the end: a lane that left could not send.
//
// As in `matmul`, each thread parks its tile in its own part of workgroup memory (12.5 KiB) and finishes it in a loop.
//
// family: matmul
// needs: subgroup
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/columns.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

var<workgroup> parked: array<vec4<f32>, 800>;   // [8 threads, 25 rows, 4 columns]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    let column = (group.x * 8u + thread) * 4u;
    let row = group.y * 25u;
    let share = lane % 8u;
    let x0 = x_base(row + 0u + share);
    let x1 = x_base(row + 8u + share);
    let x2 = x_base(row + 16u + share);
    let x3 = x_base(row + 24u);
    var acc0_0 = vec4<f32>(0.0); var acc0_1 = vec4<f32>(0.0); var acc0_2 = vec4<f32>(0.0); var acc0_3 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0); var acc1_1 = vec4<f32>(0.0); var acc1_2 = vec4<f32>(0.0); var acc1_3 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0); var acc2_1 = vec4<f32>(0.0); var acc2_2 = vec4<f32>(0.0); var acc2_3 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0); var acc3_1 = vec4<f32>(0.0); var acc3_2 = vec4<f32>(0.0); var acc3_3 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0); var acc4_1 = vec4<f32>(0.0); var acc4_2 = vec4<f32>(0.0); var acc4_3 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0); var acc5_1 = vec4<f32>(0.0); var acc5_2 = vec4<f32>(0.0); var acc5_3 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0); var acc6_1 = vec4<f32>(0.0); var acc6_2 = vec4<f32>(0.0); var acc6_3 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0); var acc7_1 = vec4<f32>(0.0); var acc7_2 = vec4<f32>(0.0); var acc7_3 = vec4<f32>(0.0);
    var acc8_0 = vec4<f32>(0.0); var acc8_1 = vec4<f32>(0.0); var acc8_2 = vec4<f32>(0.0); var acc8_3 = vec4<f32>(0.0);
    var acc9_0 = vec4<f32>(0.0); var acc9_1 = vec4<f32>(0.0); var acc9_2 = vec4<f32>(0.0); var acc9_3 = vec4<f32>(0.0);
    var acc10_0 = vec4<f32>(0.0); var acc10_1 = vec4<f32>(0.0); var acc10_2 = vec4<f32>(0.0); var acc10_3 = vec4<f32>(0.0);
    var acc11_0 = vec4<f32>(0.0); var acc11_1 = vec4<f32>(0.0); var acc11_2 = vec4<f32>(0.0); var acc11_3 = vec4<f32>(0.0);
    var acc12_0 = vec4<f32>(0.0); var acc12_1 = vec4<f32>(0.0); var acc12_2 = vec4<f32>(0.0); var acc12_3 = vec4<f32>(0.0);
    var acc13_0 = vec4<f32>(0.0); var acc13_1 = vec4<f32>(0.0); var acc13_2 = vec4<f32>(0.0); var acc13_3 = vec4<f32>(0.0);
    var acc14_0 = vec4<f32>(0.0); var acc14_1 = vec4<f32>(0.0); var acc14_2 = vec4<f32>(0.0); var acc14_3 = vec4<f32>(0.0);
    var acc15_0 = vec4<f32>(0.0); var acc15_1 = vec4<f32>(0.0); var acc15_2 = vec4<f32>(0.0); var acc15_3 = vec4<f32>(0.0);
    var acc16_0 = vec4<f32>(0.0); var acc16_1 = vec4<f32>(0.0); var acc16_2 = vec4<f32>(0.0); var acc16_3 = vec4<f32>(0.0);
    var acc17_0 = vec4<f32>(0.0); var acc17_1 = vec4<f32>(0.0); var acc17_2 = vec4<f32>(0.0); var acc17_3 = vec4<f32>(0.0);
    var acc18_0 = vec4<f32>(0.0); var acc18_1 = vec4<f32>(0.0); var acc18_2 = vec4<f32>(0.0); var acc18_3 = vec4<f32>(0.0);
    var acc19_0 = vec4<f32>(0.0); var acc19_1 = vec4<f32>(0.0); var acc19_2 = vec4<f32>(0.0); var acc19_3 = vec4<f32>(0.0);
    var acc20_0 = vec4<f32>(0.0); var acc20_1 = vec4<f32>(0.0); var acc20_2 = vec4<f32>(0.0); var acc20_3 = vec4<f32>(0.0);
    var acc21_0 = vec4<f32>(0.0); var acc21_1 = vec4<f32>(0.0); var acc21_2 = vec4<f32>(0.0); var acc21_3 = vec4<f32>(0.0);
    var acc22_0 = vec4<f32>(0.0); var acc22_1 = vec4<f32>(0.0); var acc22_2 = vec4<f32>(0.0); var acc22_3 = vec4<f32>(0.0);
    var acc23_0 = vec4<f32>(0.0); var acc23_1 = vec4<f32>(0.0); var acc23_2 = vec4<f32>(0.0); var acc23_3 = vec4<f32>(0.0);
    var acc24_0 = vec4<f32>(0.0); var acc24_1 = vec4<f32>(0.0); var acc24_2 = vec4<f32>(0.0); var acc24_3 = vec4<f32>(0.0);
    for (var k = k_first(group.z); k < k_end(group.z); k += 1u) {
        let b0 = columns(column + 0u, params.n4, k, params.k4);
        let b1 = columns(column + 1u, params.n4, k, params.k4);
        let b2 = columns(column + 2u, params.n4, k, params.k4);
        let b3 = columns(column + 3u, params.n4, k, params.k4);
        let s0 = widen_act(x[x0 + k]);
        let a0 = subgroupBroadcast(s0, 0u);
        acc0_0 = step4(a0, b0, acc0_0); acc0_1 = step4(a0, b1, acc0_1); acc0_2 = step4(a0, b2, acc0_2); acc0_3 = step4(a0, b3, acc0_3);
        let a1 = subgroupBroadcast(s0, 1u);
        acc1_0 = step4(a1, b0, acc1_0); acc1_1 = step4(a1, b1, acc1_1); acc1_2 = step4(a1, b2, acc1_2); acc1_3 = step4(a1, b3, acc1_3);
        let a2 = subgroupBroadcast(s0, 2u);
        acc2_0 = step4(a2, b0, acc2_0); acc2_1 = step4(a2, b1, acc2_1); acc2_2 = step4(a2, b2, acc2_2); acc2_3 = step4(a2, b3, acc2_3);
        let a3 = subgroupBroadcast(s0, 3u);
        acc3_0 = step4(a3, b0, acc3_0); acc3_1 = step4(a3, b1, acc3_1); acc3_2 = step4(a3, b2, acc3_2); acc3_3 = step4(a3, b3, acc3_3);
        let a4 = subgroupBroadcast(s0, 4u);
        acc4_0 = step4(a4, b0, acc4_0); acc4_1 = step4(a4, b1, acc4_1); acc4_2 = step4(a4, b2, acc4_2); acc4_3 = step4(a4, b3, acc4_3);
        let a5 = subgroupBroadcast(s0, 5u);
        acc5_0 = step4(a5, b0, acc5_0); acc5_1 = step4(a5, b1, acc5_1); acc5_2 = step4(a5, b2, acc5_2); acc5_3 = step4(a5, b3, acc5_3);
        let a6 = subgroupBroadcast(s0, 6u);
        acc6_0 = step4(a6, b0, acc6_0); acc6_1 = step4(a6, b1, acc6_1); acc6_2 = step4(a6, b2, acc6_2); acc6_3 = step4(a6, b3, acc6_3);
        let a7 = subgroupBroadcast(s0, 7u);
        acc7_0 = step4(a7, b0, acc7_0); acc7_1 = step4(a7, b1, acc7_1); acc7_2 = step4(a7, b2, acc7_2); acc7_3 = step4(a7, b3, acc7_3);
        let s1 = widen_act(x[x1 + k]);
        let a8 = subgroupBroadcast(s1, 0u);
        acc8_0 = step4(a8, b0, acc8_0); acc8_1 = step4(a8, b1, acc8_1); acc8_2 = step4(a8, b2, acc8_2); acc8_3 = step4(a8, b3, acc8_3);
        let a9 = subgroupBroadcast(s1, 1u);
        acc9_0 = step4(a9, b0, acc9_0); acc9_1 = step4(a9, b1, acc9_1); acc9_2 = step4(a9, b2, acc9_2); acc9_3 = step4(a9, b3, acc9_3);
        let a10 = subgroupBroadcast(s1, 2u);
        acc10_0 = step4(a10, b0, acc10_0); acc10_1 = step4(a10, b1, acc10_1); acc10_2 = step4(a10, b2, acc10_2); acc10_3 = step4(a10, b3, acc10_3);
        let a11 = subgroupBroadcast(s1, 3u);
        acc11_0 = step4(a11, b0, acc11_0); acc11_1 = step4(a11, b1, acc11_1); acc11_2 = step4(a11, b2, acc11_2); acc11_3 = step4(a11, b3, acc11_3);
        let a12 = subgroupBroadcast(s1, 4u);
        acc12_0 = step4(a12, b0, acc12_0); acc12_1 = step4(a12, b1, acc12_1); acc12_2 = step4(a12, b2, acc12_2); acc12_3 = step4(a12, b3, acc12_3);
        let a13 = subgroupBroadcast(s1, 5u);
        acc13_0 = step4(a13, b0, acc13_0); acc13_1 = step4(a13, b1, acc13_1); acc13_2 = step4(a13, b2, acc13_2); acc13_3 = step4(a13, b3, acc13_3);
        let a14 = subgroupBroadcast(s1, 6u);
        acc14_0 = step4(a14, b0, acc14_0); acc14_1 = step4(a14, b1, acc14_1); acc14_2 = step4(a14, b2, acc14_2); acc14_3 = step4(a14, b3, acc14_3);
        let a15 = subgroupBroadcast(s1, 7u);
        acc15_0 = step4(a15, b0, acc15_0); acc15_1 = step4(a15, b1, acc15_1); acc15_2 = step4(a15, b2, acc15_2); acc15_3 = step4(a15, b3, acc15_3);
        let s2 = widen_act(x[x2 + k]);
        let a16 = subgroupBroadcast(s2, 0u);
        acc16_0 = step4(a16, b0, acc16_0); acc16_1 = step4(a16, b1, acc16_1); acc16_2 = step4(a16, b2, acc16_2); acc16_3 = step4(a16, b3, acc16_3);
        let a17 = subgroupBroadcast(s2, 1u);
        acc17_0 = step4(a17, b0, acc17_0); acc17_1 = step4(a17, b1, acc17_1); acc17_2 = step4(a17, b2, acc17_2); acc17_3 = step4(a17, b3, acc17_3);
        let a18 = subgroupBroadcast(s2, 2u);
        acc18_0 = step4(a18, b0, acc18_0); acc18_1 = step4(a18, b1, acc18_1); acc18_2 = step4(a18, b2, acc18_2); acc18_3 = step4(a18, b3, acc18_3);
        let a19 = subgroupBroadcast(s2, 3u);
        acc19_0 = step4(a19, b0, acc19_0); acc19_1 = step4(a19, b1, acc19_1); acc19_2 = step4(a19, b2, acc19_2); acc19_3 = step4(a19, b3, acc19_3);
        let a20 = subgroupBroadcast(s2, 4u);
        acc20_0 = step4(a20, b0, acc20_0); acc20_1 = step4(a20, b1, acc20_1); acc20_2 = step4(a20, b2, acc20_2); acc20_3 = step4(a20, b3, acc20_3);
        let a21 = subgroupBroadcast(s2, 5u);
        acc21_0 = step4(a21, b0, acc21_0); acc21_1 = step4(a21, b1, acc21_1); acc21_2 = step4(a21, b2, acc21_2); acc21_3 = step4(a21, b3, acc21_3);
        let a22 = subgroupBroadcast(s2, 6u);
        acc22_0 = step4(a22, b0, acc22_0); acc22_1 = step4(a22, b1, acc22_1); acc22_2 = step4(a22, b2, acc22_2); acc22_3 = step4(a22, b3, acc22_3);
        let a23 = subgroupBroadcast(s2, 7u);
        acc23_0 = step4(a23, b0, acc23_0); acc23_1 = step4(a23, b1, acc23_1); acc23_2 = step4(a23, b2, acc23_2); acc23_3 = step4(a23, b3, acc23_3);
        let a24 = widen_act(x[x3 + k]);
        acc24_0 = step4(a24, b0, acc24_0); acc24_1 = step4(a24, b1, acc24_1); acc24_2 = step4(a24, b2, acc24_2); acc24_3 = step4(a24, b3, acc24_3);
    }

    let mine = thread * 100u;
    parked[mine + 0u] = acc0_0; parked[mine + 1u] = acc0_1; parked[mine + 2u] = acc0_2; parked[mine + 3u] = acc0_3;
    parked[mine + 4u] = acc1_0; parked[mine + 5u] = acc1_1; parked[mine + 6u] = acc1_2; parked[mine + 7u] = acc1_3;
    parked[mine + 8u] = acc2_0; parked[mine + 9u] = acc2_1; parked[mine + 10u] = acc2_2; parked[mine + 11u] = acc2_3;
    parked[mine + 12u] = acc3_0; parked[mine + 13u] = acc3_1; parked[mine + 14u] = acc3_2; parked[mine + 15u] = acc3_3;
    parked[mine + 16u] = acc4_0; parked[mine + 17u] = acc4_1; parked[mine + 18u] = acc4_2; parked[mine + 19u] = acc4_3;
    parked[mine + 20u] = acc5_0; parked[mine + 21u] = acc5_1; parked[mine + 22u] = acc5_2; parked[mine + 23u] = acc5_3;
    parked[mine + 24u] = acc6_0; parked[mine + 25u] = acc6_1; parked[mine + 26u] = acc6_2; parked[mine + 27u] = acc6_3;
    parked[mine + 28u] = acc7_0; parked[mine + 29u] = acc7_1; parked[mine + 30u] = acc7_2; parked[mine + 31u] = acc7_3;
    parked[mine + 32u] = acc8_0; parked[mine + 33u] = acc8_1; parked[mine + 34u] = acc8_2; parked[mine + 35u] = acc8_3;
    parked[mine + 36u] = acc9_0; parked[mine + 37u] = acc9_1; parked[mine + 38u] = acc9_2; parked[mine + 39u] = acc9_3;
    parked[mine + 40u] = acc10_0; parked[mine + 41u] = acc10_1; parked[mine + 42u] = acc10_2; parked[mine + 43u] = acc10_3;
    parked[mine + 44u] = acc11_0; parked[mine + 45u] = acc11_1; parked[mine + 46u] = acc11_2; parked[mine + 47u] = acc11_3;
    parked[mine + 48u] = acc12_0; parked[mine + 49u] = acc12_1; parked[mine + 50u] = acc12_2; parked[mine + 51u] = acc12_3;
    parked[mine + 52u] = acc13_0; parked[mine + 53u] = acc13_1; parked[mine + 54u] = acc13_2; parked[mine + 55u] = acc13_3;
    parked[mine + 56u] = acc14_0; parked[mine + 57u] = acc14_1; parked[mine + 58u] = acc14_2; parked[mine + 59u] = acc14_3;
    parked[mine + 60u] = acc15_0; parked[mine + 61u] = acc15_1; parked[mine + 62u] = acc15_2; parked[mine + 63u] = acc15_3;
    parked[mine + 64u] = acc16_0; parked[mine + 65u] = acc16_1; parked[mine + 66u] = acc16_2; parked[mine + 67u] = acc16_3;
    parked[mine + 68u] = acc17_0; parked[mine + 69u] = acc17_1; parked[mine + 70u] = acc17_2; parked[mine + 71u] = acc17_3;
    parked[mine + 72u] = acc18_0; parked[mine + 73u] = acc18_1; parked[mine + 74u] = acc18_2; parked[mine + 75u] = acc18_3;
    parked[mine + 76u] = acc19_0; parked[mine + 77u] = acc19_1; parked[mine + 78u] = acc19_2; parked[mine + 79u] = acc19_3;
    parked[mine + 80u] = acc20_0; parked[mine + 81u] = acc20_1; parked[mine + 82u] = acc20_2; parked[mine + 83u] = acc20_3;
    parked[mine + 84u] = acc21_0; parked[mine + 85u] = acc21_1; parked[mine + 86u] = acc21_2; parked[mine + 87u] = acc21_3;
    parked[mine + 88u] = acc22_0; parked[mine + 89u] = acc22_1; parked[mine + 90u] = acc22_2; parked[mine + 91u] = acc22_3;
    parked[mine + 92u] = acc23_0; parked[mine + 93u] = acc23_1; parked[mine + 94u] = acc23_2; parked[mine + 95u] = acc23_3;
    parked[mine + 96u] = acc24_0; parked[mine + 97u] = acc24_1; parked[mine + 98u] = acc24_2; parked[mine + 99u] = acc24_3;
    for (var r = row; r < min(row + 25u, params.m); r += 1u) {
        for (var c = column; c < min(column + 4u, params.n4); c += 1u) {
            put(group.z, r, c, parked[mine + (r - row) * 4u + c - column]);
        }
    }
}
