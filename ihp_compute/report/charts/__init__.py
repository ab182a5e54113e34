"""Charts as SVG: waterfall, forest, ratios, multiples, dumbbells, bars, payoff, tornado."""

from __future__ import annotations

from ihp_compute.report.charts.bars import YearBar, year_bars
from ihp_compute.report.charts.dumbbells import Dumbbell, dumbbells
from ihp_compute.report.charts.forest import ForestRow, forest
from ihp_compute.report.charts.multiples import Multiple, multiples
from ihp_compute.report.charts.payoff import Draw, Rung, payoff_chart
from ihp_compute.report.charts.points import PointsBar, PointsRow, points_chart
from ihp_compute.report.charts.ratios import RatioRow, ratios
from ihp_compute.report.charts.sheet import Chart, Whisker
from ihp_compute.report.charts.tornado import Swing, tornado
from ihp_compute.report.charts.waterfall import Bar, waterfall

__all__ = [
    "Bar",
    "Chart",
    "Draw",
    "Dumbbell",
    "ForestRow",
    "Multiple",
    "PointsBar",
    "PointsRow",
    "RatioRow",
    "Rung",
    "Swing",
    "Whisker",
    "YearBar",
    "dumbbells",
    "forest",
    "multiples",
    "payoff_chart",
    "points_chart",
    "ratios",
    "tornado",
    "waterfall",
    "year_bars",
]
