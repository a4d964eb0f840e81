package strictyaml

import "testing"

func TestWithout(t *testing.T) {
	root := Parse([]byte("a: 1\nb: {c: 2, d: [3]}\n"))[0].Root
	whole := string(root.JSON())
	for _, tc := range []struct {
		path []string
		want string
	}{
		{nil, whole}, {[]string{"x"}, whole}, {[]string{"a", "x"}, whole}, {[]string{"b", "d", "x"}, whole},
		{[]string{"a"}, `{"b":{"c":2,"d":[3]}}`}, {[]string{"b", "c"}, `{"a":1,"b":{"d":[3]}}`}, {[]string{"b"}, `{"a":1}`},
	} {
		if got := string(root.Without(tc.path...).JSON()); got != tc.want {
			t.Errorf("without %v it is %s, want %s", tc.path, got, tc.want)
		}
	}
	if got := string(root.JSON()); got != whole || root.LineOf("b") != 2 {
		t.Errorf("it was changed: %s", got)
	}
}
