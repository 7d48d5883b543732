//! Steps against the adapter's ceilings, and steps of one kernel taken together.

use lancet::gpu::Timing;
use lancet::ops::Ceilings;
use serde::Serialize;

/// What a device did in some time, and how near to its ceilings that is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Work {
    pub ms: f64,
    pub gflops: f64,
    pub gbytes: f64,
    pub gflops_per_second: f64,
    pub gbytes_per_second: f64,
    /// The least time that this work takes at the ceilings, milliseconds; steps of a sum each at their own ceiling.
    pub floor_ms: Option<f64>,
    /// `floor_ms` of `ms`.
    pub percent_of_ceiling: Option<f64>,
    /// What most of that least time goes to: `compute` or `memory`.
    pub bound: Option<&'static str>,
    #[serde(skip)]
    compute_floor_ms: f64,
}

impl Work {
    /// One step.
    pub fn of(step: &Timing, ceilings: Option<&Ceilings>) -> Work {
        let floor = ceilings.map(|c| c.floor_ms(step.flops, step.bytes));
        let compute = ceilings.is_some_and(|c| c.compute_bound(step.flops, step.bytes));
        let mut work = Work {
            ms: step.ms,
            gflops: step.flops as f64 / 1e9,
            gbytes: step.bytes as f64 / 1e9,
            floor_ms: floor,
            compute_floor_ms: if compute { floor.unwrap_or(0.0) } else { 0.0 },
            ..Work::default()
        };
        work.rate();
        work
    }

    /// All steps together.
    pub fn sum(steps: &[Timing], ceilings: Option<&Ceilings>) -> Work {
        let mut all = Work { floor_ms: ceilings.map(|_| 0.0), ..Work::default() };
        steps.iter().for_each(|step| all.add(&Work::of(step, ceilings)));
        all
    }

    pub fn add(&mut self, other: &Work) {
        self.ms += other.ms;
        self.gflops += other.gflops;
        self.gbytes += other.gbytes;
        self.compute_floor_ms += other.compute_floor_ms;
        self.floor_ms = self.floor_ms.zip(other.floor_ms).map(|(a, b)| a + b);
        self.rate();
    }

    /// The same work in another time.
    pub fn in_ms(mut self, ms: f64) -> Work {
        self.ms = ms;
        self.rate();
        self
    }

    fn rate(&mut self) {
        let per_second = |count: f64| if self.ms > 0.0 { count / self.ms * 1e3 } else { 0.0 };
        (self.gflops_per_second, self.gbytes_per_second) = (per_second(self.gflops), per_second(self.gbytes));
        self.percent_of_ceiling = self.floor_ms.filter(|_| self.ms > 0.0).map(|floor| 100.0 * floor / self.ms);
        self.bound = self.floor_ms.map(|floor| if 2.0 * self.compute_floor_ms > floor { "compute" } else { "memory" });
    }

    /// `63 % compute`, or nothing.
    pub fn of_ceiling(&self) -> String {
        self.percent_of_ceiling.zip(self.bound).map_or(String::new(), |(percent, bound)| format!("{percent:>4.0} % {bound}"))
    }
}

/// All steps of a kernel.
#[derive(Debug, Serialize)]
pub struct Kernel {
    pub kernel: &'static str,
    /// Of the time of all steps.
    pub share: f64,
    #[serde(flatten)]
    pub work: Work,
}

/// Steps added up by kernel, the longest first.
pub fn by_kernel<'a>(steps: impl Iterator<Item = &'a Timing>, ceilings: Option<&Ceilings>) -> Vec<Kernel> {
    let mut all: Vec<Kernel> = Vec::new();
    for step in steps {
        let work = Work::of(step, ceilings);
        match all.iter_mut().find(|k| k.kernel == step.kernel) {
            Some(known) => known.work.add(&work),
            None => all.push(Kernel { kernel: step.kernel, share: 0.0, work }),
        }
    }
    let total: f64 = all.iter().map(|k| k.work.ms).sum();
    all.iter_mut().for_each(|k| k.share = k.work.ms / total.max(1e-9));
    all.sort_by(|a, b| b.work.ms.total_cmp(&a.work.ms));
    all
}

/// The table of kernels.
pub fn print(kernels: &[Kernel]) {
    out!("{:<16}  {:>10}  {:>6}  {:>9}  {:>8}  of ceiling", "by kernel", "ms", "share", "GFLOP/s", "GB/s");
    for k in kernels {
        let w = &k.work;
        let (ms, share) = (w.ms, 100.0 * k.share);
        out!("{:<16}  {ms:>10.3}  {share:>5.1}%  {:>9.2}  {:>8.2}  {}", k.kernel, w.gflops_per_second, w.gbytes_per_second, w.of_ceiling());
    }
}

/// Ceilings for the JSON, and in a line.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    pub gflops_per_second: f64,
    pub gbytes_per_second: f64,
}

impl From<Ceilings> for Limits {
    fn from(c: Ceilings) -> Limits {
        Limits { gflops_per_second: c.flops / 1e9, gbytes_per_second: c.bytes / 1e9 }
    }
}

impl Limits {
    pub fn print(&self) {
        let (flops, bytes) = (self.gflops_per_second, self.gbytes_per_second);
        out!("ceilings: {flops:.1} GFLOP/s (multiply-adds alone), {bytes:.1} GB/s (copying alone), ridge {:.1} FLOP/byte", flops / bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILINGS: Ceilings = Ceilings { flops: 100e9, bytes: 10e9 };

    fn step(kernel: &'static str, ms: f64, flops: u64, bytes: u64) -> Timing {
        Timing { label: kernel.into(), kernel, ms, best_ms: ms, flops, bytes }
    }

    #[test]
    fn each_step_is_measured_by_what_it_waits_for() {
        let product = Work::of(&step("matmul", 40.0, 2_000_000_000, 10_000_000), Some(&CEILINGS));
        assert_eq!((product.floor_ms, product.percent_of_ceiling, product.bound), (Some(20.0), Some(50.0), Some("compute")));
        let norm = Work::of(&step("layer_norm", 4.0, 10_000_000, 10_000_000), Some(&CEILINGS));
        assert_eq!((norm.floor_ms, norm.percent_of_ceiling, norm.bound), (Some(1.0), Some(25.0), Some("memory")));
        let both = Work::sum(&[step("a", 40.0, 2_000_000_000, 10_000_000), step("b", 2.0, 10_000_000, 10_000_000)], Some(&CEILINGS));
        assert_eq!((both.percent_of_ceiling, both.bound), (Some(50.0), Some("compute")));
        assert_eq!(both.in_ms(84.0).percent_of_ceiling, Some(25.0));
        let without = Work::of(&step("a", 1.0, 1, 1), None);
        assert_eq!((without.percent_of_ceiling, without.bound, without.of_ceiling().as_str()), (None, None, ""));
    }

    #[test]
    fn kernels_add_up() {
        let steps = [step("a", 1.0, 1_000_000, 0), step("b", 6.0, 0, 0), step("a", 1.0, 3_000_000, 0)];
        let kernels = by_kernel(steps.iter(), None);
        let seen: Vec<_> = kernels.iter().map(|k| (k.kernel, k.share, k.work.gflops_per_second)).collect();
        assert_eq!(seen, [("b", 0.75, 0.0), ("a", 0.25, 2.0)]);
    }
}
