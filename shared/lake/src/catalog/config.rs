//! Which catalog, and what opens it.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

/// The name under which every engine must open the SQLite catalog.
pub const CATALOG_NAME: &str = "frazil";

/// Which catalog. Region, credentials and endpoints of AWS come from its standard environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogConfig {
    /// SQLite, in a local file.
    Sqlite {
        /// The file.
        database: PathBuf,
        /// URI of the folder of new tables.
        warehouse: String,
    },
    /// The AWS Glue Data Catalog.
    Glue {
        /// The account whose catalog it is, if it is not the caller's.
        catalog_id: Option<String>,
        /// URI of the folder of new tables whose database has no location.
        warehouse: Option<String>,
        /// ARN of the role that Glue's table optimizers run with. The catalog attaches those that a table lacks; if
        /// None, it attaches none.
        optimizer_role: Option<String>,
    },
    /// A server of the Iceberg REST catalog specification.
    Rest {
        /// Its URI, without `/v1`.
        uri: String,
        /// The warehouse, as the server calls it.
        warehouse: Option<String>,
        /// How to sign in.
        auth: RestAuth,
    },
    /// An S3 table bucket.
    S3Tables {
        /// Its ARN.
        table_bucket_arn: String,
    },
}

impl CatalogConfig {
    /// Its name in `FRAZIL_CATALOG`, which is also the feature that compiles it in.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Glue { .. } => "glue",
            Self::Rest { .. } => "rest",
            Self::S3Tables { .. } => "s3tables",
        }
    }

    #[cfg(not(all(feature = "sqlite", feature = "glue", feature = "rest", feature = "s3tables")))]
    pub(crate) fn not_compiled_in(&self) -> iceberg::Error {
        let name = self.name();
        let what =
            format!("this program was built without the catalog {name}: build it with --features {name}");
        iceberg::Error::new(iceberg::ErrorKind::FeatureUnsupported, what)
    }
}

/// How to sign in to a REST catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestAuth {
    /// Not at all.
    None,
    /// By a bearer token.
    Token(Secret),
    /// By a token that OAuth2 gives for client credentials.
    OAuth {
        /// `ID:SECRET`, or the secret alone.
        credential: Secret,
        /// Where tokens are given; the catalog's own endpoint if None.
        server_uri: Option<String>,
        /// What the token is for; `catalog` if None.
        scope: Option<String>,
    },
}

/// A text that does not show in logs, and is wiped from memory when it is dropped.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    #[cfg(feature = "rest")]
    pub(crate) fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for Secret {}
