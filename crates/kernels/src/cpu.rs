//! Which instruction set the kernels use, decided once per process.
//!
//! `TOPWORK_CPU=portable|avx2|avx512|amx|neon` forces a path, for tests and for chasing a wrong number. A path that
//! this CPU does not have is refused and reported in [`Cpu::note`], never silently replaced.

use std::sync::OnceLock;

/// An instruction set with its own kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Path {
    /// 512-bit vectors (AVX-512 F, BW, DQ, VL).
    Avx512,
    /// 256-bit vectors with fused multiply-add (AVX2, FMA).
    Avx2,
    /// 128-bit vectors of aarch64.
    Neon,
    /// What the compiler makes of plain loops.
    Portable,
}

impl Path {
    /// The name used in `TOPWORK_CPU` and shown to the user.
    pub fn name(self) -> &'static str {
        match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::Neon => "neon",
            Path::Portable => "portable",
        }
    }

    /// Every path, best first.
    pub const ALL: [Path; 4] = [Path::Avx512, Path::Avx2, Path::Neon, Path::Portable];

    /// Whether this CPU can run the path.
    pub fn available(self) -> bool {
        match self {
            Path::Portable => true,
            Path::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx512 | Path::Avx2 => false,
        }
    }
}

/// What the kernels run on, for `topwork doctor` and for run reports.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cpu {
    /// The path in use.
    pub path: Path,
    /// Detected features that matter here, by their usual names.
    pub features: Vec<&'static str>,
    /// Whether bf16 products run in hardware; otherwise inputs are rounded to bf16 and multiplied in f32.
    pub native_bf16: bool,
    /// Whether bf16 products run in the tile registers of AMX.
    pub tiles: bool,
    /// Threads the kernels use when called from here.
    pub threads: usize,
    /// Set when `TOPWORK_CPU` asked for something that cannot be had.
    pub note: Option<String>,
}

/// Describes the CPU and the path chosen for it.
pub fn cpu() -> Cpu {
    let chosen = chosen();
    Cpu {
        path: chosen.path,
        features: features(),
        native_bf16: native_bf16(),
        tiles: tiles(),
        threads: rayon::current_num_threads(),
        note: chosen.note.clone(),
    }
}

struct Chosen {
    path: Path,
    note: Option<String>,
    native_bf16: bool,
    tiles: bool,
    #[cfg(target_arch = "x86_64")]
    native_int8: bool,
}

fn chosen() -> &'static Chosen {
    static CHOSEN: OnceLock<Chosen> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(std::env::var("TOPWORK_CPU").ok().as_deref()))
}

fn choose(wanted: Option<&str>) -> Chosen {
    let best = Path::ALL.into_iter().find(|path| path.available()).unwrap_or(Path::Portable);
    let (path, note) = match wanted {
        None | Some("") => (best, None),
        Some(AMX) if best == Path::Avx512 && has_amx() => (best, None),
        Some(AMX) => (best, Some(format!("TOPWORK_CPU={AMX}: not on this cpu, using {}", best.name()))),
        Some(name) => match Path::ALL.into_iter().find(|path| path.name() == name) {
            Some(path) if path.available() => (path, None),
            Some(_) => (best, Some(format!("TOPWORK_CPU={name}: not on this cpu, using {}", best.name()))),
            None => (
                best,
                Some(format!(
                    "TOPWORK_CPU={name}: unknown, known are amx, avx512, avx2, neon, portable; using {}",
                    best.name()
                )),
            ),
        },
    };
    let wide = path == Path::Avx512;
    // Asking for the registers is asking the system: only where they would be used. A path that was named is taken at
    // its word.
    let tiles = wide && wanted.is_none_or(|name| name.is_empty() || name == AMX) && has_amx();
    Chosen {
        path,
        note,
        native_bf16: tiles || wide && fast_pairs(),
        tiles,
        #[cfg(target_arch = "x86_64")]
        native_int8: wide && has_avx512_vnni(),
    }
}

#[inline]
pub(crate) fn path() -> Path {
    chosen().path
}

#[inline]
pub(crate) fn native_bf16() -> bool {
    chosen().native_bf16
}

/// Whether bf16 products run in the tile registers of AMX.
#[inline]
pub(crate) fn tiles() -> bool {
    chosen().tiles
}

/// The name of AVX-512 with tile registers: the vectors are the same, so it is no path of its own.
const AMX: &str = "amx";

#[cfg(target_arch = "x86_64")]
fn has_amx() -> bool {
    pairs() && crate::gemm::amx::available()
}

#[cfg(not(target_arch = "x86_64"))]
fn has_amx() -> bool {
    false
}

/// Whether 8-bit products run in hardware.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn native_int8() -> bool {
    chosen().native_int8
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni")
}

/// Whether pairs of bf16 are multiplied in AVX-512 registers, and packed there.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn pairs() -> bool {
    is_x86_feature_detected!("avx512bf16") && Path::Avx512.available()
}

/// Whether that is faster than f32: on Intel's cores (measured on Emerald Rapids) a pair takes four times as long as a
/// multiply-add in f32, which is half the speed; their fast bf16 is AMX.
#[cfg(target_arch = "x86_64")]
fn fast_pairs() -> bool {
    pairs() && !made_by_intel()
}

#[cfg(not(target_arch = "x86_64"))]
fn fast_pairs() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn made_by_intel() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! probe {
        ($($name:tt),*) => { $( if is_x86_feature_detected!($name) { found.push($name); } )* };
    }
    probe!("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx512bf16");
    if has_amx() {
        found.push("amx-bf16");
    }
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    if cfg!(target_arch = "aarch64") { vec!["neon"] } else { Vec::new() }
}

/// Compiles one safe loop body once per instruction set and picks the right one at run time.
///
/// `fn name(args) -> ret = body;` where `body` is an `#[inline(always)]` function with one const parameter
/// `FMA: bool` in front: whether `mul_add` is one instruction. The compiler vectorises the body with the widest
/// registers of each set.
macro_rules! multiversion {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident;)+) => { $(
        #[allow(clippy::too_many_arguments)]
        #[allow(unsafe_code, reason = "calling a function compiled for a CPU feature that was detected")]
        fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                match $crate::cpu::path() {
                    // SAFETY: the path is only ever one whose features were detected on this CPU.
                    $crate::cpu::Path::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::Path::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::cpu::Path::Neon | $crate::cpu::Path::Portable => {}
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    )+ };
}
pub(crate) use multiversion;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_be_had_is_reported() {
        assert!(choose(None).note.is_none());
        assert_eq!(choose(Some("portable")).path, Path::Portable);
        let unknown = choose(Some("mmx"));
        assert!(unknown.note.is_some_and(|note| note.contains("mmx")));
        let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
        let refused = choose(Some(foreign));
        assert!(refused.path.available() && refused.note.is_some());
    }

    #[test]
    fn the_description_names_an_available_path() {
        let cpu = cpu();
        assert!(cpu.path.available());
        assert!(cpu.threads >= 1);
    }
}
