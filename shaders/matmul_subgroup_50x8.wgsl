// y = activation(x w^T + bias) + residual, 50 x 8 by subgroups, eight steps of K per load
//
// One thread makes a tile of 50 rows by 8 columns, 8 threads 50 rows by 64 columns. As in `matmul_subgroup_25x16` the lanes of
// a subgroup lie side by side in N and share their rows: lane i reads row i % 8 of each eight, and the others get it by
// broadcast.
//
// A CPU driver makes a load lane by lane, with a test and four copies each, whether its components have 32 bits or 64. So
// this kernel loads f32 as 64-bit words, eight elements at once: 7 + 8 loads for 3,200 multiply-adds, where
// `matmul_subgroup_25x16` has 20 for 1,600. Rows and columns are as many as make the fewest loads for 400 sums, which live on
// the stack anyway. The eight columns of a thread are likewise finished and stored at once. N, K and the rows of x must be
// multiples of 8.
//
// As in `matmul`, each thread parks its tile in its own part of workgroup memory (12.5 KiB) and finishes it in a loop.
//
// family: matmul
// needs: subgroup_int64
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/act8_{act}.wgsl
// include: common/weight8_{weight}.wgsl
// include: common/eight_floats.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_eights.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

var<workgroup> parked: array<vec4<u64>, 400>;   // [8 threads, 50 rows] of eight columns

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    let eight = group.x * 8u + thread;
    let row = group.y * 50u;
    let share = lane % 8u;
    let k8 = params.k4 / 2u;
    let x0 = x_base(row + 0u + share);
    let x1 = x_base(row + 8u + share);
    let x2 = x_base(row + 16u + share);
    let x3 = x_base(row + 24u + share);
    let x4 = x_base(row + 32u + share);
    let x5 = x_base(row + 40u + share);
    let x6 = x_base(row + 48u + share);
    var acc0_0 = vec4<f32>(0.0); var acc0_1 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0); var acc1_1 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0); var acc2_1 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0); var acc3_1 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0); var acc4_1 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0); var acc5_1 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0); var acc6_1 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0); var acc7_1 = vec4<f32>(0.0);
    var acc8_0 = vec4<f32>(0.0); var acc8_1 = vec4<f32>(0.0);
    var acc9_0 = vec4<f32>(0.0); var acc9_1 = vec4<f32>(0.0);
    var acc10_0 = vec4<f32>(0.0); var acc10_1 = vec4<f32>(0.0);
    var acc11_0 = vec4<f32>(0.0); var acc11_1 = vec4<f32>(0.0);
    var acc12_0 = vec4<f32>(0.0); var acc12_1 = vec4<f32>(0.0);
    var acc13_0 = vec4<f32>(0.0); var acc13_1 = vec4<f32>(0.0);
    var acc14_0 = vec4<f32>(0.0); var acc14_1 = vec4<f32>(0.0);
    var acc15_0 = vec4<f32>(0.0); var acc15_1 = vec4<f32>(0.0);
    var acc16_0 = vec4<f32>(0.0); var acc16_1 = vec4<f32>(0.0);
    var acc17_0 = vec4<f32>(0.0); var acc17_1 = vec4<f32>(0.0);
    var acc18_0 = vec4<f32>(0.0); var acc18_1 = vec4<f32>(0.0);
    var acc19_0 = vec4<f32>(0.0); var acc19_1 = vec4<f32>(0.0);
    var acc20_0 = vec4<f32>(0.0); var acc20_1 = vec4<f32>(0.0);
    var acc21_0 = vec4<f32>(0.0); var acc21_1 = vec4<f32>(0.0);
    var acc22_0 = vec4<f32>(0.0); var acc22_1 = vec4<f32>(0.0);
    var acc23_0 = vec4<f32>(0.0); var acc23_1 = vec4<f32>(0.0);
    var acc24_0 = vec4<f32>(0.0); var acc24_1 = vec4<f32>(0.0);
    var acc25_0 = vec4<f32>(0.0); var acc25_1 = vec4<f32>(0.0);
    var acc26_0 = vec4<f32>(0.0); var acc26_1 = vec4<f32>(0.0);
    var acc27_0 = vec4<f32>(0.0); var acc27_1 = vec4<f32>(0.0);
    var acc28_0 = vec4<f32>(0.0); var acc28_1 = vec4<f32>(0.0);
    var acc29_0 = vec4<f32>(0.0); var acc29_1 = vec4<f32>(0.0);
    var acc30_0 = vec4<f32>(0.0); var acc30_1 = vec4<f32>(0.0);
    var acc31_0 = vec4<f32>(0.0); var acc31_1 = vec4<f32>(0.0);
    var acc32_0 = vec4<f32>(0.0); var acc32_1 = vec4<f32>(0.0);
    var acc33_0 = vec4<f32>(0.0); var acc33_1 = vec4<f32>(0.0);
    var acc34_0 = vec4<f32>(0.0); var acc34_1 = vec4<f32>(0.0);
    var acc35_0 = vec4<f32>(0.0); var acc35_1 = vec4<f32>(0.0);
    var acc36_0 = vec4<f32>(0.0); var acc36_1 = vec4<f32>(0.0);
    var acc37_0 = vec4<f32>(0.0); var acc37_1 = vec4<f32>(0.0);
    var acc38_0 = vec4<f32>(0.0); var acc38_1 = vec4<f32>(0.0);
    var acc39_0 = vec4<f32>(0.0); var acc39_1 = vec4<f32>(0.0);
    var acc40_0 = vec4<f32>(0.0); var acc40_1 = vec4<f32>(0.0);
    var acc41_0 = vec4<f32>(0.0); var acc41_1 = vec4<f32>(0.0);
    var acc42_0 = vec4<f32>(0.0); var acc42_1 = vec4<f32>(0.0);
    var acc43_0 = vec4<f32>(0.0); var acc43_1 = vec4<f32>(0.0);
    var acc44_0 = vec4<f32>(0.0); var acc44_1 = vec4<f32>(0.0);
    var acc45_0 = vec4<f32>(0.0); var acc45_1 = vec4<f32>(0.0);
    var acc46_0 = vec4<f32>(0.0); var acc46_1 = vec4<f32>(0.0);
    var acc47_0 = vec4<f32>(0.0); var acc47_1 = vec4<f32>(0.0);
    var acc48_0 = vec4<f32>(0.0); var acc48_1 = vec4<f32>(0.0);
    var acc49_0 = vec4<f32>(0.0); var acc49_1 = vec4<f32>(0.0);
    for (var k = k_first(group.z) / 2u; k < k_end(group.z) / 2u; k += 1u) {
        let b0 = columns8(2u * eight, k8, k);
        let b1 = columns8(2u * eight + 1u, k8, k);
        let x0_k = x[x0 + k]; let low0 = low_acts(x0_k); let high0 = high_acts(x0_k);
        let l0 = subgroupBroadcast(low0, 0u); let h0 = subgroupBroadcast(high0, 0u);
        acc0_0 = step8(l0, h0, b0, acc0_0); acc0_1 = step8(l0, h0, b1, acc0_1);
        let l1 = subgroupBroadcast(low0, 1u); let h1 = subgroupBroadcast(high0, 1u);
        acc1_0 = step8(l1, h1, b0, acc1_0); acc1_1 = step8(l1, h1, b1, acc1_1);
        let l2 = subgroupBroadcast(low0, 2u); let h2 = subgroupBroadcast(high0, 2u);
        acc2_0 = step8(l2, h2, b0, acc2_0); acc2_1 = step8(l2, h2, b1, acc2_1);
        let l3 = subgroupBroadcast(low0, 3u); let h3 = subgroupBroadcast(high0, 3u);
        acc3_0 = step8(l3, h3, b0, acc3_0); acc3_1 = step8(l3, h3, b1, acc3_1);
        let l4 = subgroupBroadcast(low0, 4u); let h4 = subgroupBroadcast(high0, 4u);
        acc4_0 = step8(l4, h4, b0, acc4_0); acc4_1 = step8(l4, h4, b1, acc4_1);
        let l5 = subgroupBroadcast(low0, 5u); let h5 = subgroupBroadcast(high0, 5u);
        acc5_0 = step8(l5, h5, b0, acc5_0); acc5_1 = step8(l5, h5, b1, acc5_1);
        let l6 = subgroupBroadcast(low0, 6u); let h6 = subgroupBroadcast(high0, 6u);
        acc6_0 = step8(l6, h6, b0, acc6_0); acc6_1 = step8(l6, h6, b1, acc6_1);
        let l7 = subgroupBroadcast(low0, 7u); let h7 = subgroupBroadcast(high0, 7u);
        acc7_0 = step8(l7, h7, b0, acc7_0); acc7_1 = step8(l7, h7, b1, acc7_1);
        let x1_k = x[x1 + k]; let low1 = low_acts(x1_k); let high1 = high_acts(x1_k);
        let l8 = subgroupBroadcast(low1, 0u); let h8 = subgroupBroadcast(high1, 0u);
        acc8_0 = step8(l8, h8, b0, acc8_0); acc8_1 = step8(l8, h8, b1, acc8_1);
        let l9 = subgroupBroadcast(low1, 1u); let h9 = subgroupBroadcast(high1, 1u);
        acc9_0 = step8(l9, h9, b0, acc9_0); acc9_1 = step8(l9, h9, b1, acc9_1);
        let l10 = subgroupBroadcast(low1, 2u); let h10 = subgroupBroadcast(high1, 2u);
        acc10_0 = step8(l10, h10, b0, acc10_0); acc10_1 = step8(l10, h10, b1, acc10_1);
        let l11 = subgroupBroadcast(low1, 3u); let h11 = subgroupBroadcast(high1, 3u);
        acc11_0 = step8(l11, h11, b0, acc11_0); acc11_1 = step8(l11, h11, b1, acc11_1);
        let l12 = subgroupBroadcast(low1, 4u); let h12 = subgroupBroadcast(high1, 4u);
        acc12_0 = step8(l12, h12, b0, acc12_0); acc12_1 = step8(l12, h12, b1, acc12_1);
        let l13 = subgroupBroadcast(low1, 5u); let h13 = subgroupBroadcast(high1, 5u);
        acc13_0 = step8(l13, h13, b0, acc13_0); acc13_1 = step8(l13, h13, b1, acc13_1);
        let l14 = subgroupBroadcast(low1, 6u); let h14 = subgroupBroadcast(high1, 6u);
        acc14_0 = step8(l14, h14, b0, acc14_0); acc14_1 = step8(l14, h14, b1, acc14_1);
        let l15 = subgroupBroadcast(low1, 7u); let h15 = subgroupBroadcast(high1, 7u);
        acc15_0 = step8(l15, h15, b0, acc15_0); acc15_1 = step8(l15, h15, b1, acc15_1);
        let x2_k = x[x2 + k]; let low2 = low_acts(x2_k); let high2 = high_acts(x2_k);
        let l16 = subgroupBroadcast(low2, 0u); let h16 = subgroupBroadcast(high2, 0u);
        acc16_0 = step8(l16, h16, b0, acc16_0); acc16_1 = step8(l16, h16, b1, acc16_1);
        let l17 = subgroupBroadcast(low2, 1u); let h17 = subgroupBroadcast(high2, 1u);
        acc17_0 = step8(l17, h17, b0, acc17_0); acc17_1 = step8(l17, h17, b1, acc17_1);
        let l18 = subgroupBroadcast(low2, 2u); let h18 = subgroupBroadcast(high2, 2u);
        acc18_0 = step8(l18, h18, b0, acc18_0); acc18_1 = step8(l18, h18, b1, acc18_1);
        let l19 = subgroupBroadcast(low2, 3u); let h19 = subgroupBroadcast(high2, 3u);
        acc19_0 = step8(l19, h19, b0, acc19_0); acc19_1 = step8(l19, h19, b1, acc19_1);
        let l20 = subgroupBroadcast(low2, 4u); let h20 = subgroupBroadcast(high2, 4u);
        acc20_0 = step8(l20, h20, b0, acc20_0); acc20_1 = step8(l20, h20, b1, acc20_1);
        let l21 = subgroupBroadcast(low2, 5u); let h21 = subgroupBroadcast(high2, 5u);
        acc21_0 = step8(l21, h21, b0, acc21_0); acc21_1 = step8(l21, h21, b1, acc21_1);
        let l22 = subgroupBroadcast(low2, 6u); let h22 = subgroupBroadcast(high2, 6u);
        acc22_0 = step8(l22, h22, b0, acc22_0); acc22_1 = step8(l22, h22, b1, acc22_1);
        let l23 = subgroupBroadcast(low2, 7u); let h23 = subgroupBroadcast(high2, 7u);
        acc23_0 = step8(l23, h23, b0, acc23_0); acc23_1 = step8(l23, h23, b1, acc23_1);
        let x3_k = x[x3 + k]; let low3 = low_acts(x3_k); let high3 = high_acts(x3_k);
        let l24 = subgroupBroadcast(low3, 0u); let h24 = subgroupBroadcast(high3, 0u);
        acc24_0 = step8(l24, h24, b0, acc24_0); acc24_1 = step8(l24, h24, b1, acc24_1);
        let l25 = subgroupBroadcast(low3, 1u); let h25 = subgroupBroadcast(high3, 1u);
        acc25_0 = step8(l25, h25, b0, acc25_0); acc25_1 = step8(l25, h25, b1, acc25_1);
        let l26 = subgroupBroadcast(low3, 2u); let h26 = subgroupBroadcast(high3, 2u);
        acc26_0 = step8(l26, h26, b0, acc26_0); acc26_1 = step8(l26, h26, b1, acc26_1);
        let l27 = subgroupBroadcast(low3, 3u); let h27 = subgroupBroadcast(high3, 3u);
        acc27_0 = step8(l27, h27, b0, acc27_0); acc27_1 = step8(l27, h27, b1, acc27_1);
        let l28 = subgroupBroadcast(low3, 4u); let h28 = subgroupBroadcast(high3, 4u);
        acc28_0 = step8(l28, h28, b0, acc28_0); acc28_1 = step8(l28, h28, b1, acc28_1);
        let l29 = subgroupBroadcast(low3, 5u); let h29 = subgroupBroadcast(high3, 5u);
        acc29_0 = step8(l29, h29, b0, acc29_0); acc29_1 = step8(l29, h29, b1, acc29_1);
        let l30 = subgroupBroadcast(low3, 6u); let h30 = subgroupBroadcast(high3, 6u);
        acc30_0 = step8(l30, h30, b0, acc30_0); acc30_1 = step8(l30, h30, b1, acc30_1);
        let l31 = subgroupBroadcast(low3, 7u); let h31 = subgroupBroadcast(high3, 7u);
        acc31_0 = step8(l31, h31, b0, acc31_0); acc31_1 = step8(l31, h31, b1, acc31_1);
        let x4_k = x[x4 + k]; let low4 = low_acts(x4_k); let high4 = high_acts(x4_k);
        let l32 = subgroupBroadcast(low4, 0u); let h32 = subgroupBroadcast(high4, 0u);
        acc32_0 = step8(l32, h32, b0, acc32_0); acc32_1 = step8(l32, h32, b1, acc32_1);
        let l33 = subgroupBroadcast(low4, 1u); let h33 = subgroupBroadcast(high4, 1u);
        acc33_0 = step8(l33, h33, b0, acc33_0); acc33_1 = step8(l33, h33, b1, acc33_1);
        let l34 = subgroupBroadcast(low4, 2u); let h34 = subgroupBroadcast(high4, 2u);
        acc34_0 = step8(l34, h34, b0, acc34_0); acc34_1 = step8(l34, h34, b1, acc34_1);
        let l35 = subgroupBroadcast(low4, 3u); let h35 = subgroupBroadcast(high4, 3u);
        acc35_0 = step8(l35, h35, b0, acc35_0); acc35_1 = step8(l35, h35, b1, acc35_1);
        let l36 = subgroupBroadcast(low4, 4u); let h36 = subgroupBroadcast(high4, 4u);
        acc36_0 = step8(l36, h36, b0, acc36_0); acc36_1 = step8(l36, h36, b1, acc36_1);
        let l37 = subgroupBroadcast(low4, 5u); let h37 = subgroupBroadcast(high4, 5u);
        acc37_0 = step8(l37, h37, b0, acc37_0); acc37_1 = step8(l37, h37, b1, acc37_1);
        let l38 = subgroupBroadcast(low4, 6u); let h38 = subgroupBroadcast(high4, 6u);
        acc38_0 = step8(l38, h38, b0, acc38_0); acc38_1 = step8(l38, h38, b1, acc38_1);
        let l39 = subgroupBroadcast(low4, 7u); let h39 = subgroupBroadcast(high4, 7u);
        acc39_0 = step8(l39, h39, b0, acc39_0); acc39_1 = step8(l39, h39, b1, acc39_1);
        let x5_k = x[x5 + k]; let low5 = low_acts(x5_k); let high5 = high_acts(x5_k);
        let l40 = subgroupBroadcast(low5, 0u); let h40 = subgroupBroadcast(high5, 0u);
        acc40_0 = step8(l40, h40, b0, acc40_0); acc40_1 = step8(l40, h40, b1, acc40_1);
        let l41 = subgroupBroadcast(low5, 1u); let h41 = subgroupBroadcast(high5, 1u);
        acc41_0 = step8(l41, h41, b0, acc41_0); acc41_1 = step8(l41, h41, b1, acc41_1);
        let l42 = subgroupBroadcast(low5, 2u); let h42 = subgroupBroadcast(high5, 2u);
        acc42_0 = step8(l42, h42, b0, acc42_0); acc42_1 = step8(l42, h42, b1, acc42_1);
        let l43 = subgroupBroadcast(low5, 3u); let h43 = subgroupBroadcast(high5, 3u);
        acc43_0 = step8(l43, h43, b0, acc43_0); acc43_1 = step8(l43, h43, b1, acc43_1);
        let l44 = subgroupBroadcast(low5, 4u); let h44 = subgroupBroadcast(high5, 4u);
        acc44_0 = step8(l44, h44, b0, acc44_0); acc44_1 = step8(l44, h44, b1, acc44_1);
        let l45 = subgroupBroadcast(low5, 5u); let h45 = subgroupBroadcast(high5, 5u);
        acc45_0 = step8(l45, h45, b0, acc45_0); acc45_1 = step8(l45, h45, b1, acc45_1);
        let l46 = subgroupBroadcast(low5, 6u); let h46 = subgroupBroadcast(high5, 6u);
        acc46_0 = step8(l46, h46, b0, acc46_0); acc46_1 = step8(l46, h46, b1, acc46_1);
        let l47 = subgroupBroadcast(low5, 7u); let h47 = subgroupBroadcast(high5, 7u);
        acc47_0 = step8(l47, h47, b0, acc47_0); acc47_1 = step8(l47, h47, b1, acc47_1);
        let x6_k = x[x6 + k]; let low6 = low_acts(x6_k); let high6 = high_acts(x6_k);
        let l48 = subgroupBroadcast(low6, 0u); let h48 = subgroupBroadcast(high6, 0u);
        acc48_0 = step8(l48, h48, b0, acc48_0); acc48_1 = step8(l48, h48, b1, acc48_1);
        let l49 = subgroupBroadcast(low6, 1u); let h49 = subgroupBroadcast(high6, 1u);
        acc49_0 = step8(l49, h49, b0, acc49_0); acc49_1 = step8(l49, h49, b1, acc49_1);
    }

    let mine = thread * 50u;
    parked[mine + 0u] = eight_floats(acc0_0, acc0_1); parked[mine + 1u] = eight_floats(acc1_0, acc1_1);
    parked[mine + 2u] = eight_floats(acc2_0, acc2_1); parked[mine + 3u] = eight_floats(acc3_0, acc3_1);
    parked[mine + 4u] = eight_floats(acc4_0, acc4_1); parked[mine + 5u] = eight_floats(acc5_0, acc5_1);
    parked[mine + 6u] = eight_floats(acc6_0, acc6_1); parked[mine + 7u] = eight_floats(acc7_0, acc7_1);
    parked[mine + 8u] = eight_floats(acc8_0, acc8_1); parked[mine + 9u] = eight_floats(acc9_0, acc9_1);
    parked[mine + 10u] = eight_floats(acc10_0, acc10_1); parked[mine + 11u] = eight_floats(acc11_0, acc11_1);
    parked[mine + 12u] = eight_floats(acc12_0, acc12_1); parked[mine + 13u] = eight_floats(acc13_0, acc13_1);
    parked[mine + 14u] = eight_floats(acc14_0, acc14_1); parked[mine + 15u] = eight_floats(acc15_0, acc15_1);
    parked[mine + 16u] = eight_floats(acc16_0, acc16_1); parked[mine + 17u] = eight_floats(acc17_0, acc17_1);
    parked[mine + 18u] = eight_floats(acc18_0, acc18_1); parked[mine + 19u] = eight_floats(acc19_0, acc19_1);
    parked[mine + 20u] = eight_floats(acc20_0, acc20_1); parked[mine + 21u] = eight_floats(acc21_0, acc21_1);
    parked[mine + 22u] = eight_floats(acc22_0, acc22_1); parked[mine + 23u] = eight_floats(acc23_0, acc23_1);
    parked[mine + 24u] = eight_floats(acc24_0, acc24_1); parked[mine + 25u] = eight_floats(acc25_0, acc25_1);
    parked[mine + 26u] = eight_floats(acc26_0, acc26_1); parked[mine + 27u] = eight_floats(acc27_0, acc27_1);
    parked[mine + 28u] = eight_floats(acc28_0, acc28_1); parked[mine + 29u] = eight_floats(acc29_0, acc29_1);
    parked[mine + 30u] = eight_floats(acc30_0, acc30_1); parked[mine + 31u] = eight_floats(acc31_0, acc31_1);
    parked[mine + 32u] = eight_floats(acc32_0, acc32_1); parked[mine + 33u] = eight_floats(acc33_0, acc33_1);
    parked[mine + 34u] = eight_floats(acc34_0, acc34_1); parked[mine + 35u] = eight_floats(acc35_0, acc35_1);
    parked[mine + 36u] = eight_floats(acc36_0, acc36_1); parked[mine + 37u] = eight_floats(acc37_0, acc37_1);
    parked[mine + 38u] = eight_floats(acc38_0, acc38_1); parked[mine + 39u] = eight_floats(acc39_0, acc39_1);
    parked[mine + 40u] = eight_floats(acc40_0, acc40_1); parked[mine + 41u] = eight_floats(acc41_0, acc41_1);
    parked[mine + 42u] = eight_floats(acc42_0, acc42_1); parked[mine + 43u] = eight_floats(acc43_0, acc43_1);
    parked[mine + 44u] = eight_floats(acc44_0, acc44_1); parked[mine + 45u] = eight_floats(acc45_0, acc45_1);
    parked[mine + 46u] = eight_floats(acc46_0, acc46_1); parked[mine + 47u] = eight_floats(acc47_0, acc47_1);
    parked[mine + 48u] = eight_floats(acc48_0, acc48_1); parked[mine + 49u] = eight_floats(acc49_0, acc49_1);
    if (2u * eight < params.n4) {
        let scale = scale8(eight);
        let bias = bias8(eight);
        for (var r = row; r < min(row + 50u, params.m); r += 1u) {
            put8(group.z, r, eight, scale, bias, parked[mine + r - row]);
        }
    }
}
