// A product's tile of 50 rows by 8 columns by each thread of a subgroup, whose lanes lie side by side in N and share the rows:
// lane i loads row i % 8 of each eight, and the others get it by broadcast. All threads stay to the end: one that left could
// not send. Why so: see `matmul_subgroup_50x8`.
//
// The kernel gives `RowBase` and `row_base(row)`, where a row of the left side begins; `Step` and `step_at(k)`, what the k-th
// eight along K means for all rows; `load_row(base, step)`, with `low_row` and `high_row` for what it loaded; and
// `weight` [N, K] of `Weight8`. It clamps what lies beyond the edges, and stores only what does not.
// The finished tile lies in the thread's own part of `parked`, from `thread * 50u` on, a row an element.
var<workgroup> parked: array<vec4<u64>, 400>;   // [8 threads, 50 rows] of eight columns

// Where columns 4 column .. + 3 of weights [4 n4, 8 k8] begin. Those beyond the last repeat it.
fn column_base(column: u32, n4: u32, k8: u32) -> vec4<u32> {
    return min(column, n4 - 1u) * 4u * k8 + vec4<u32>(0u, k8, 2u * k8, 3u * k8);
}

// Four columns at the k-th eight.
fn columns8(base: vec4<u32>, k: u32) -> Eight4 {
    let at = base + k;
    let w0 = weight[at.x];
    let w1 = weight[at.y];
    let w2 = weight[at.z];
    let w3 = weight[at.w];
    return Eight4(
        transpose(mat4x4<f32>(low_weights(w0), low_weights(w1), low_weights(w2), low_weights(w3))),
        transpose(mat4x4<f32>(high_weights(w0), high_weights(w1), high_weights(w2), high_weights(w3))),
    );
}

// Rows from `row` on, columns 8 eight .. + 7, the eights first_k .. end_k of K.
fn make_tile(thread: u32, lane: u32, row: u32, eight: u32, n4: u32, k8: u32, first_k: u32, end_k: u32) {
    let share = lane % 8u;
    let x0 = row_base(row + 0u + share);
    let x1 = row_base(row + 8u + share);
    let x2 = row_base(row + 16u + share);
    let x3 = row_base(row + 24u + share);
    let x4 = row_base(row + 32u + share);
    let x5 = row_base(row + 40u + share);
    let x6 = row_base(row + 48u + share);
    // Made here, not in the loop: drivers for CPUs leave in a loop what is in it.
    let c0 = column_base(2u * eight, n4, k8);
    let c1 = column_base(2u * eight + 1u, n4, k8);
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
    for (var k = first_k; k < end_k; k += 1u) {
        let b0 = columns8(c0, k);
        let b1 = columns8(c1, k);
        let step = step_at(k);
        let s0 = load_row(x0, step); let low0 = low_row(s0); let high0 = high_row(s0);
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
        let s1 = load_row(x1, step); let low1 = low_row(s1); let high1 = high_row(s1);
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
        let s2 = load_row(x2, step); let low2 = low_row(s2); let high2 = high_row(s2);
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
        let s3 = load_row(x3, step); let low3 = low_row(s3); let high3 = high_row(s3);
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
        let s4 = load_row(x4, step); let low4 = low_row(s4); let high4 = high_row(s4);
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
        let s5 = load_row(x5, step); let low5 = low_row(s5); let high5 = high_row(s5);
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
        let s6 = load_row(x6, step); let low6 = low_row(s6); let high6 = high_row(s6);
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
}
