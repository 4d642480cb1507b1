//! Plots as plain SVG: a library's would be larger than what it writes here.
//!
//! Legible on white and on black, and by people who do not see all colours
//! (Okabe and Ito's palette); each curve has a mark of its own, too.

use std::fmt::Write as _;
use std::fs;

use crate::report::{number, size, written};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 44.0;

const STYLE: &str = "
text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:14px;font-weight:600}
.grid{stroke:#ccc;stroke-width:.5}.axis{stroke:#666}.line{fill:none;stroke-width:2}
.c0{stroke:#0072b2;fill:#0072b2}.c1{stroke:#d55e00;fill:#d55e00}
.c2{stroke:#009e73;fill:#009e73}.c3{stroke:#cc79a7;fill:#cc79a7}
.line.c0,.line.c1,.line.c2,.line.c3{fill:none}
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.axis{stroke:#999}
.c0{stroke:#56b4e9;fill:#56b4e9}.c1{stroke:#e69f00;fill:#e69f00}.c2{stroke:#2bc4a0;fill:#2bc4a0}}
";

/// A curve.
pub(crate) struct Series {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn new(name: &'static str) -> Self {
        let points = Vec::new();
        Self { name, points }
    }

    pub(crate) fn push(&mut self, x: f64, y: f64) {
        self.points.push((x, y));
    }
}

/// An axis and its unit.
pub(crate) struct Axis {
    label: &'static str,
    log: bool,
    sizes: bool,
}

impl Axis {
    pub(crate) fn linear(label: &'static str) -> Self {
        Self {
            label,
            log: false,
            sizes: false,
        }
    }

    pub(crate) fn log(label: &'static str) -> Self {
        Self {
            log: true,
            ..Self::linear(label)
        }
    }

    /// It has sizes in bytes, and a tick at each that was measured.
    pub(crate) fn sizes(self) -> Self {
        Self {
            sizes: true,
            ..self
        }
    }

    fn place(&self, value: f64) -> f64 {
        if self.log {
            value.max(1e-9).log10()
        } else {
            value
        }
    }

    /// The ticks over what was measured; the first and last are the bounds.
    fn ticks(&self, values: &[f64]) -> Vec<f64> {
        if values.is_empty() {
            return vec![1.0, 10.0];
        }
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.sizes {
            let mut ticks = values.to_vec();
            ticks.sort_by(f64::total_cmp);
            ticks.dedup();
            return ticks;
        }
        if self.log {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let few = decades.clone().count() <= 3;
            let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let ticks =
                decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            let ticks: Vec<_> = ticks.collect();
            let first = ticks.iter().rposition(|tick| *tick <= low).unwrap_or(0);
            let last = ticks.iter().position(|tick| *tick >= high);
            return ticks[first..=last.unwrap_or(ticks.len() - 1)].to_vec();
        }
        let magnitude = 10f64.powf((high / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
        let step = steps.into_iter().find(|step| high / step <= 6.0);
        let step = step.unwrap_or(steps[3]);
        let count = (high / step).ceil() as usize;
        (0..=count).map(|n| n as f64 * step).collect()
    }

    fn tick(&self, value: f64) -> String {
        if self.sizes {
            return size(value as u64);
        }
        let text = number(value);
        match text.split_once('.') {
            Some((whole, fraction)) => {
                let fraction = fraction.trim_end_matches('0');
                let dot = if fraction.is_empty() { "" } else { "." };
                format!("{whole}{dot}{fraction}")
            }
            None => text,
        }
    }
}

/// Curves over one axis.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

impl Plot {
    /// Writes it to its file, and returns what the document says instead.
    pub(crate) fn write(&self, name: &str) -> String {
        fs::write(written(&format!("img/{name}.svg")), self.svg()).unwrap();
        let axes = format!("{} by {}", self.y.label, self.x.label);
        format!("![{}: {axes}](img/{name}.svg)\n", self.title)
    }

    fn svg(&self) -> String {
        // Nothing has no logarithm: what was too little to be measured is left out.
        let shown = |(a, b): &(f64, f64)| (!self.x.log || *a > 0.0) && (!self.y.log || *b > 0.0);
        let all = || {
            self.series
                .iter()
                .flat_map(|series| &series.points)
                .filter(|it| shown(it))
        };
        let x_ticks = self
            .x
            .ticks(&all().map(|point| point.0).collect::<Vec<_>>());
        let y_ticks = self
            .y
            .ticks(&all().map(|point| point.1).collect::<Vec<_>>());
        let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * within(&self.x, &x_ticks, value);
        let y = |value: f64| {
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * within(&self.y, &y_ticks, value)
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
             <title>{}</title><style>{STYLE}</style>\
             <text class=\"title\" x=\"{LEFT}\" y=\"20\">{}</text>",
            self.title, self.title
        );
        for tick in &y_ticks {
            let (y, label) = (y(*tick), self.y.tick(*tick));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        let floor = HEIGHT - BOTTOM;
        for tick in &x_ticks {
            let (x, label) = (x(*tick), self.x.tick(*tick));
            let anchor = if x > WIDTH - RIGHT - 20.0 {
                "end"
            } else {
                "middle"
            };
            let _ = write!(
                svg,
                "<path class=\"axis\" d=\"M{x:.1} {floor}v4\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{label}</text>",
                floor + 17.0
            );
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {floor}H{}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            self.x.label,
            LEFT - 6.0,
            TOP - 14.0,
            self.y.label
        );
        let mut legend = LEFT + 12.0;
        for (index, series) in self.series.iter().enumerate() {
            let points = series.points.iter().filter(|it| shown(it));
            let points: Vec<_> = points.map(|(a, b)| (x(*a), y(*b))).collect();
            if points.is_empty() {
                continue;
            }
            let path: Vec<_> = points
                .iter()
                .map(|(x, y)| format!("{x:.1} {y:.1}"))
                .collect();
            let _ = write!(
                svg,
                "<path class=\"line c{index}\" d=\"M{}\"/>",
                path.join("L")
            );
            for (x, y) in points.into_iter().chain([(legend + 5.0, TOP - 18.0)]) {
                svg += &mark(index, x, y);
            }
            let _ = write!(
                svg,
                "<text x=\"{}\" y=\"{}\">{}</text>",
                legend + 14.0,
                TOP - 14.0,
                series.name
            );
            legend += 34.0 + 6.6 * series.name.len() as f64;
        }
        svg + "</svg>\n"
    }
}

/// Where a value lies between the first tick and the last: 0 to 1.
fn within(axis: &Axis, ticks: &[f64], value: f64) -> f64 {
    let ends = [ticks.first(), ticks.last()].map(|tick| axis.place(tick.copied().unwrap_or(0.0)));
    let span = (ends[1] - ends[0]).max(f64::MIN_POSITIVE);
    (axis.place(value) - ends[0]) / span
}

/// Each curve has another.
fn mark(index: usize, x: f64, y: f64) -> String {
    let shape = match index {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\""),
        1 => format!("<path d=\"M{:.1} {:.1}h8v8h-8z\"", x - 4.0, y - 4.0),
        2 => format!("<path d=\"M{x:.1} {:.1}l5 9h-10z\"", y - 5.0),
        _ => format!("<path d=\"M{x:.1} {:.1}l5 5l-5 5l-5 -5z\"", y - 5.0),
    };
    format!("{shape} class=\"c{index}\"/>")
}
