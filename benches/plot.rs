//! Plots, drawn as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// A value for each place on the horizontal axis.
    pub values: Vec<f64>,
}

/// How the vertical axis is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// From 0, evenly.
    Linear,
    /// By powers of ten.
    Log,
}

impl Scale {
    /// How high a value stands.
    fn height(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }

    /// What stands at that height.
    fn label(self, height: f64) -> String {
        match self {
            Self::Linear => format!("{}", (height * 1000.0).round() / 1000.0),
            Self::Log if (height - height.round()).abs() < 1e-6 => {
                format!("{}", 10f64.powf(height.round()))
            }
            Self::Log => String::new(),
        }
    }
}

/// A plot of lines over named places.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Over it.
    pub title: String,
    /// Under the horizontal axis.
    pub across: String,
    /// Beside the vertical axis.
    pub up: String,
    /// How it is divided.
    pub scale: Scale,
    /// The places on the horizontal axis, from left to right.
    pub places: Vec<String>,
    /// The lines.
    pub lines: Vec<Line>,
}

const COLOURS: [RGBColor; 8] = [
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0x99, 0x99, 0x99),
];

impl Plot {
    /// Draws it at `path`.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn draw(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let area = SVGBackend::new(path, (820, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let height = |value: &f64| self.scale.height(*value);
        let all = self.lines.iter().flat_map(|line| &line.values).map(height);
        let (least, most) = all
            .filter(|height| height.is_finite())
            .fold((f64::MAX, f64::MIN), |(least, most), at| (least.min(at), most.max(at)));
        let (bottom, top) = match self.scale {
            Scale::Linear => (0.0, most.max(0.0) * 1.1),
            Scale::Log => (least.min(most).floor(), most.ceil()),
        };
        let right = (self.places.len().max(2) - 1) as f64;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(-0.1..right + 0.1, bottom..top)?;
        let place = |at: &f64| {
            let near = at.round();
            let is_place = (at - near).abs() < 1e-6 && near >= 0.0;
            let name = self.places.get(near as usize).filter(|_| is_place);
            name.cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(self.places.len() * 2)
            .x_label_formatter(&place)
            .x_desc(&self.across)
            .y_label_formatter(&|height| self.scale.label(*height))
            .y_desc(&self.up)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let points =
                line.values.iter().enumerate().map(|(at, value)| (at as f64, height(value)));
            let points: Vec<_> = points.filter(|(_, value)| value.is_finite()).collect();
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
                });
            let dots = points.into_iter().map(|point| Circle::new(point, 3, colour.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// A bar of a plot.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands with, next to those of the same.
    pub group: String,
    /// What it is called.
    pub name: String,
    /// How long it is.
    pub value: f64,
}

/// Draws bars at `path`, one below the other, a colour a group.
///
/// # Errors
/// Where there is none, and where the file can't be written.
pub fn draw_bars(title: &str, bars: &[Bar], path: &Path) -> Result<(), Box<dyn Error>> {
    const ROW: u32 = 20;
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    if most <= 0.0 {
        return Err("there is nothing to draw".into());
    }
    let count = bars.len() as i32;
    let area = SVGBackend::new(path, (820, 60 + ROW * bars.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, top, width) = (270, 44, 470.0);
    area.draw(&Text::new(title, (12, 12), ("sans-serif", 18)))?;
    // What ringpack's are as long as.
    let one = left + (width / most) as i32;
    let down = top + count * ROW as i32;
    area.draw(&PathElement::new(vec![(one, top - 4), (one, down)], BLACK.mix(0.4)))?;
    let mut groups: Vec<&str> = Vec::new();
    for (number, bar) in bars.iter().enumerate() {
        if groups.last() != Some(&bar.group.as_str()) {
            groups.push(&bar.group);
        }
        let colour = COLOURS[(groups.len() - 1) % COLOURS.len()];
        let above = top + number as i32 * ROW as i32;
        let end = left + (width * bar.value / most).max(1.0) as i32;
        let corners = [(left, above + 2), (end, above + ROW as i32 - 2)];
        area.draw(&Rectangle::new(corners, colour.filled()))?;
        let name = format!("{}: {}", bar.group, bar.name);
        area.draw(&Text::new(name, (12, above + 4), ("sans-serif", 12)))?;
        let value = format!("{:.2}", bar.value);
        area.draw(&Text::new(value, (end + 5, above + 4), ("sans-serif", 12)))?;
    }
    area.present()?;
    Ok(())
}
