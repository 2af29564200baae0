package bench

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// The plot's measures, in pixels.
const (
	plotLeft   = 290 // where the bars begin
	plotWidth  = 560 // of the longest bar
	plotBar    = 18
	plotRow    = 34
	plotTop    = 44
	plotBottom = 58
)

// Plot draws the report as an SVG: a bar to each p50, a line from there to the p99 with a mark at the p95, and a red mark at
// the p50 of the brief.
func (r ColdReport) Plot() []byte {
	longest := 0.1
	for _, row := range r.Rows {
		longest = max(longest, row.P99)
		if row.Brief != nil {
			longest = max(longest, row.Brief.P50)
		}
	}
	x := func(s float64) float64 { return plotLeft + math.Round(10*plotWidth*s/longest)/10 }
	height := plotTop + len(r.Rows)*plotRow + plotBottom
	var svg bytes.Buffer
	draw := func(format string, args ...any) { _, _ = fmt.Fprintf(&svg, format+"\n", args...) }
	draw(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`, plotLeft+plotWidth+90, height)
	draw(`<rect width="100%%" height="100%%" fill="white"/>`)
	draw(`<text x="8" y="22" font-size="15">From claim to sandbox, in seconds: p50, p95 and p99</text>`)
	for i, row := range r.Rows {
		y := plotTop + i*plotRow
		draw(`<text x="8" y="%d">%s</text>`, y+14, escape(row.Scenario+", "+row.Template))
		draw(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="#4878a8"/>`, plotLeft, y, x(row.P50)-plotLeft, plotBar)
		draw(`<path d="M%.1f %dH%.1fM%.1f %dv10M%.1f %dv10" stroke="black"/>`, x(row.P50), y+plotBar/2, x(row.P99), x(row.P95), y+4, x(row.P99), y+4)
		draw(`<text x="%.1f" y="%d">%.3f</text>`, x(row.P99)+6, y+14, row.P50)
		if row.Brief != nil {
			draw(`<path d="M%.1f %dv%d" stroke="#c03030" stroke-width="3"/>`, x(row.Brief.P50), y-3, plotBar+6)
		}
	}
	draw(`<text x="8" y="%d" fill="#c03030">red: the p50 of the project's brief</text>`, height-34)
	draw(`<text x="8" y="%d" font-size="11">%s</text>`, height-12, escape(fmt.Sprintf("%d rounds; %s", r.Rounds, r.Machine)))
	draw(`</svg>`)
	return svg.Bytes()
}

func escape(text string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text)) // a buffer takes all
	return out.String()
}
