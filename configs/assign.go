package configs

import (
	"fmt"
	"strconv"

	"sandpool/lifetime"
)

// assign puts a decoded TOML value into dst, a pointer to a field of Config. It returns what is wrong with the value, or "".
func assign(dst, value any, pos string) (wrong string) {
	switch dst := dst.(type) {
	case *string:
		return take(dst, value, "a text in quotes")
	case *bool:
		return take(dst, value, "true or false")
	case *int:
		var n int64
		wrong = take(&n, value, "a whole number")
		*dst = int(n)
	case *float64:
		if n, whole := value.(int64); whole {
			value = float64(n)
		}
		return take(dst, value, "a number")
	case *lifetime.Duration:
		return takeDuration(dst, value)
	case *[]string:
		return takeTexts(dst, value, "a list of texts")
	case *Platforms:
		if name, ok := value.(string); ok {
			*dst = Platforms{name}
			return ""
		}
		return takeTexts((*[]string)(dst), value, "a name or a list of names")
	case *Ulimit:
		return takeUlimit(dst, value)
	case *Setting:
		return takeSetting(dst, value, pos)
	default:
		panic(fmt.Sprintf("configs: no way to read a %T", dst))
	}
	return wrong
}

func take[T any](dst *T, value any, want string) string {
	got, ok := value.(T)
	if !ok {
		return "is " + describe(value) + ", want " + want
	}
	*dst = got
	return ""
}

func takeDuration(dst *lifetime.Duration, value any) string {
	var text string
	if wrong := take(&text, value, `a duration in quotes, as in "90s", "1h30m" or "7d"`); wrong != "" {
		return wrong
	}
	parsed, err := lifetime.ParseDuration(text)
	if err != nil {
		return err.Error()
	}
	*dst = parsed
	return ""
}

func takeTexts(dst *[]string, value any, want string) string {
	var items []any
	if wrong := take(&items, value, want); wrong != "" {
		return wrong
	}
	var texts []string
	for i, item := range items {
		var text string
		if wrong := take(&text, item, "a text in quotes"); wrong != "" {
			return fmt.Sprintf("item %d %s", i, wrong)
		}
		texts = append(texts, text)
	}
	*dst = texts
	return ""
}

func takeSetting(dst *Setting, value any, pos string) string {
	dst.Pos = pos
	switch value := value.(type) {
	case string:
		dst.Value = value
	case bool:
		dst.Value = strconv.FormatBool(value)
	case int64:
		dst.Value = strconv.FormatInt(value, 10)
	default:
		return "is " + describe(value) + ", want a text, true or false, or a whole number"
	}
	return ""
}

// describe names the TOML type of a value.
func describe(value any) string {
	switch value.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}
