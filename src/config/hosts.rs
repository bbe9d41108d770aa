//! A database URL with several hosts: the members of one group.

/// Hosts at most: a group has no more members.
const MOST_HOSTS: usize = 9;

/// The URL of each host of a list such as `mysql://user:password@host1:3306,host2:3306/name`. One host: `text` itself.
///
/// # Errors
/// What is wrong with the list, as the end of a sentence. Neither user nor password are in it.
pub fn urls(text: &str) -> Result<Vec<String>, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(vec![text.to_owned()]);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password may have commas.
    let (account, list) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let hosts: Vec<&str> = list.split(',').collect();
    if hosts.len() == 1 {
        return Ok(vec![text.to_owned()]);
    }
    if hosts.len() > MOST_HOSTS {
        return Err(format!(
            "names {} hosts, and a group has at most {MOST_HOSTS} members",
            hosts.len()
        ));
    }
    if path.contains("?socket=") || path.contains("&socket=") {
        return Err("names several hosts and a socket, which only one server has".to_owned());
    }
    for (place, host) in hosts.iter().enumerate() {
        if host.is_empty() {
            return Err(format!("names no host at place {} of its list", place + 1));
        }
        if hosts[..place].contains(host) {
            return Err(format!("names the host {host} twice"));
        }
    }
    let url = |host: &&str| format!("{scheme}://{account}{host}{path}");
    Ok(hosts.iter().map(url).collect())
}

#[cfg(test)]
mod tests {
    use super::urls;

    #[test]
    fn one_host_is_the_url_itself() {
        for one in [
            "mysql://u:p@h:3306/db",
            "mysql://u:a,b@h/db?x=1,2",
            "mysql://u@localhost/db?socket=/a,b",
            "h",
        ] {
            assert_eq!(urls(one), Ok(vec![one.to_owned()]));
        }
    }

    #[test]
    fn each_host_of_a_list_has_all_the_rest() {
        assert_eq!(
            urls("mysql://u:a,b@h1:3306,[::1]:3307,h3/db?prefer_socket=false"),
            Ok(vec![
                "mysql://u:a,b@h1:3306/db?prefer_socket=false".to_owned(),
                "mysql://u:a,b@[::1]:3307/db?prefer_socket=false".to_owned(),
                "mysql://u:a,b@h3/db?prefer_socket=false".to_owned(),
            ])
        );
    }

    #[test]
    fn a_wrong_list_is_told_without_the_password() {
        for (wrong, why) in [
            ("mysql://u:secret@h1:3306,/db", "names no host at place 2 of its list"),
            ("mysql://u:secret@,h2/db", "names no host at place 1 of its list"),
            ("mysql://u:secret@h1:3306,h2,h1:3306/db", "names the host h1:3306 twice"),
            (
                "mysql://u:secret@a,b,c,d,e,f,g,h,i,j/db",
                "names 10 hosts, and a group has at most 9 members",
            ),
            (
                "mysql://u:secret@a,b/db?socket=/s",
                "names several hosts and a socket, which only one server has",
            ),
        ] {
            assert_eq!(urls(wrong), Err(why.to_owned()));
        }
    }
}
