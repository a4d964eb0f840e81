package agent

import "net/url"

// concealed stands for what may be secret.
const concealed = "***"

// Conceal returns the configuration without what may be secret, to be shown to
// people: passwords and queries of URLs, and what headers say.
func (c *Config) Conceal() *Config {
	out := *c
	out.Source.URL = concealURL(c.Source.URL)
	out.Source.URLHeaders = make(map[string]string, len(c.Source.URLHeaders))
	for name := range c.Source.URLHeaders {
		out.Source.URLHeaders[name] = concealed
	}
	return &out
}

func concealURL(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return concealed // it may be all password
	}
	out := u.Scheme + "://"
	if u.User != nil {
		out += concealed + "@"
	}
	out += u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		out += "?" + concealed
	}
	return out
}
